import SQLite from 'better-sqlite3';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCatalogue } from '../../pure/contracts/index.ts';
import { until } from './until.ts';
import { checkout, World } from './world.ts';
import { npmEnvironment } from '../../tools/setup/packages.mjs';

// What `npm pack` makes, installed by npm into an empty prefix, used by a person with an empty home.
const prefix = mkdtempSync(join(tmpdir(), 'glovebox-package-'));
const root = join(prefix, 'lib/node_modules/glovebox');
let world: World;
let unavailable: string | undefined;

beforeAll(() => {
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', prefix], {
    cwd: checkout,
    stdio: 'pipe',
  });
  const [archive = ''] = readdirSync(prefix).filter((name) => name.endsWith('.tgz'));
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=1'];
  const made = spawnSync(
    'npm',
    ['install', '--global', '--prefix', prefix, ...options, join(prefix, archive)],
    {
      encoding: 'utf8',
      env: { ...process.env, ...npmEnvironment() },
      timeout: 200_000,
    },
  );
  if (made.status !== 0)
    unavailable = made.stderr.split('\n').find((line) => line.includes('code ')) ?? made.stderr;
  // npm compiles these where no binary is to be had, which takes minutes: here are the checkout’s.
  for (const built of ['better-sqlite3/build', 'fs-xattr/build'])
    if (unavailable === undefined && existsSync(join(checkout, 'node_modules', built)))
      cpSync(join(checkout, 'node_modules', built), join(root, 'node_modules', built), { recursive: true });
  world = new World([], { uid: process.getuid?.() ?? 0, launcher: join(prefix, 'bin/glovebox') });
});
afterAll(async () => {
  await world.close();
  rmSync(prefix, { recursive: true, force: true });
});

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);
const database = (change: (open: SQLite.Database) => void): void => {
  const open = new SQLite(join(world.state, 'control-plane.db'));
  change(open);
  open.close();
};

describe('[R44] an installed package', () => {
  it('holds what is needed, and no sources, tests or tools of developers', ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    const files = (readdirSync(root, { recursive: true }) as string[]).filter(
      (name) => !name.startsWith('node_modules') && statSync(join(root, name)).isFile(),
    );
    expect(files.filter((name) => /\.ts$|test|bench|tsconfig|stamps|\.ready|tools\.json/.test(name))).toEqual(
      [],
    );
    expect(files).toEqual(
      expect.arrayContaining(['dist/cli.js', 'dist/init', 'dist/glovebox.1', 'tools/setup.mjs']),
    );
    expect(existsSync(join(prefix, 'share/man/man1/glovebox.1'))).toBe(true);
  });

  it('works as the checkout does: set-up, doctor, a run; nothing is written to its own folder', async ({
    skip,
  }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    const before = readdirSync(join(root, 'dist')).sort();
    const version = await world.glovebox(['version']);
    expect(version, version.err).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^glovebox \d/) as unknown,
    });
    await world.waive();
    expect(await world.glovebox(['run', '--', 'true'])).toMatchObject({ code: 0 });
    const said = await world.glovebox(['run', '--', 'sh', '-c', 'echo hello; exit 7']);
    expect(said).toMatchObject({ code: 7, out: 'hello\n' });
    expect(readdirSync(join(root, 'dist')).sort()).toEqual(before);
  });

  it('lets a browser in, once, and tells nothing to who has no login', async ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    const opened = await world.glovebox(['console', '--json']);
    const { url } = JSON.parse(opened.out) as { url: string };
    const { origin, hash } = new URL(url);
    expect((await fetch(`${origin}/v1/health`)).status).toBe(401);
    const login = (): Promise<Response> =>
      fetch(`${origin}/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin },
        body: JSON.stringify({ token: hash.slice(1) }),
      });
    const answer = await login();
    const { key } = (await answer.json()) as { key: string };
    const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const health = await fetch(`${origin}/v1/health`, { headers: { cookie, 'x-glovebox-key': key } });
    expect(health.status).toBe(200);
    expect((await login()).status).toBe(409);
    expect(await world.glovebox(['console', '--close'])).toMatchObject({ code: 0 });
    await expect(fetch(`${origin}/v1/health`)).rejects.toThrow();
  });
});

describe('glovebox upgrade', () => {
  it('ends no session unasked, copies the state before it is migrated, and keeps it', async ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    await world.glovebox(['run', '--detach', '--name', 'long', '--', 'sleep', '600']);
    await until('the session runs', async () => (await world.session('long')).state === 'running');
    const pid = await world.daemon();
    const refused = await world.glovebox(['upgrade', '--json']);
    expect(refused.code).toBe(errorCatalogue.GB_SESSION_STATE.exit);
    expect(refused.err).toContain('long');
    expect(isAlive(pid)).toBe(true);
    expect(await world.glovebox(['upgrade', '--end-sessions'])).toMatchObject({ code: 0 });
    expect(isAlive(pid)).toBe(false);
    expect((await world.session('long')).state).toBe('ended');

    // The state as an older version wrote it: what the migrations after the third one did is undone.
    await world.glovebox(['down']);
    database((open) => {
      for (const index of ['sessions_open_name', 'grants_by_key']) open.exec(`DROP INDEX ${index}`);
      for (const table of ['installation', 'audit_tombstone', 'turns', 'api_tokens'])
        open.exec(`DROP TABLE ${table}`);
      for (const column of ['policy_written', 'settled', 'replica'])
        open.exec(`ALTER TABLE sessions DROP COLUMN ${column}`);
      for (const column of ['expires_at', 'used_at']) open.exec(`ALTER TABLE grants DROP COLUMN ${column}`);
      open.exec(`DELETE FROM kysely_migration WHERE name >= '0004'`);
    });
    const { code, out, err } = await world.glovebox(['upgrade', '--json']);
    expect(code, err).toBe(0);
    const { backups } = JSON.parse(out) as { backups: string[] };
    expect(backups).toHaveLength(1);
    expect((await world.session('long')).state).toBe('ended');
    expect(await world.glovebox(['run', '--', 'true'])).toMatchObject({ code: 0 });
  });

  it('refuses a state that a newer version wrote', async ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    await world.glovebox(['down']);
    database((open) => open.prepare('INSERT INTO kysely_migration VALUES (?, ?)').run('9999-future', '2030'));
    const refused = await world.glovebox(['upgrade', '--json']);
    expect(refused.code).toBe(errorCatalogue.GB_STATE_REFUSED.exit);
    expect(refused.err).toContain('GB_STATE_REFUSED');
    database((open) => open.exec(`DELETE FROM kysely_migration WHERE name = '9999-future'`));
    expect(await world.glovebox(['up'])).toMatchObject({ code: 0 });
  });
});

describe('glovebox uninstall', () => {
  it('removes nothing without the word', async ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    const pid = await world.daemon();
    for (const args of [['--purge'], ['--purge', '--confirm', 'yes']])
      expect(await world.glovebox(['uninstall', ...args])).toMatchObject({
        code: errorCatalogue.GB_USAGE.exit,
      });
    expect(isAlive(pid)).toBe(true);
  });

  it('leaves nothing running, and says what it leaves; the state goes with --purge', async ({ skip }) => {
    if (unavailable !== undefined) skip(`npm cannot install the package’s dependencies here: ${unavailable}`);
    await world.glovebox(['run', '--detach', '--', 'sleep', '600']);
    const pid = await world.daemon();
    const said = await world.glovebox(['uninstall']);
    expect(said.code, said.err).toBe(0);
    expect(said.out).toContain(world.state);
    expect(said.out).toContain(root);
    expect(isAlive(pid)).toBe(false);
    expect(processesOf(world.folder)).toEqual([]);
    expect(existsSync(world.state)).toBe(true);
    const purged = await world.glovebox(['uninstall', '--purge', '--confirm', 'purge', '--json']);
    expect(purged.code, purged.err).toBe(0);
    expect(existsSync(world.state)).toBe(false);
    expect(existsSync(join(root, 'dist/cli.js'))).toBe(true);
  });
});

/** Whatever still runs with a word of this world in its arguments. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return words.includes(folder) ? [words] : [];
      } catch {
        // It ended meanwhile.
        return [];
      }
    });
}
