import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SessionView } from '../../pure/contracts/index.ts';

export const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** Where set-up keeps tools, by version. */
export const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Another user of this machine, and the Glovebox that is installed for them. */
export interface Person {
  readonly uid: number;
  readonly launcher: string;
}

/** A person's machine: a home, a project, and a Glovebox of its own, started and stopped by these tests alone. */
export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'gb-e2e-'));
  readonly home = join(this.folder, 'home');
  readonly project = join(this.folder, 'project');
  readonly env: Record<string, string>;
  readonly #hosts: readonly string[];
  readonly #person: Person | undefined;

  /** `hosts`: names that resolve to this machine, for everything that this world starts. `person`: who uses it, if not we. */
  constructor(hosts: readonly string[] = [], person?: Person) {
    this.#person = person;
    for (const path of [this.home, this.project]) mkdirSync(path, { recursive: true, mode: 0o755 });
    this.env = {
      HOME: this.home,
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      XDG_CACHE_HOME: cache,
      LANG: 'C.UTF-8',
      TERM: 'xterm-256color',
    };
    if (person !== undefined) {
      chmodSync(this.folder, 0o755);
      for (const path of [this.home, this.project]) chownSync(path, person.uid, person.uid);
    }
    this.#hosts = hosts;
    if (hosts.length > 0)
      writeFileSync(
        join(this.folder, 'hosts'),
        `${readFileSync('/etc/hosts', 'utf8')}\n127.0.0.1 ${hosts.join(' ')}\n`,
      );
  }

  /** Waives what the machine of these tests lacks, as a person would: by name. */
  async waive(): Promise<void> {
    await this.glovebox(['up']);
    const { out } = await this.glovebox(['doctor', '--json']);
    const report = JSON.parse(out) as { guarantees: { id: string; state: string; waivable: boolean }[] };
    for (const { id, state, waivable } of report.guarantees)
      if (state === 'missing' && waivable) await this.glovebox(['doctor', '--waive', id]);
  }

  /** The process of the control plane, which is started where it is not running. */
  async daemon(): Promise<number> {
    const { out } = await this.glovebox(['up', '--json']);
    return (JSON.parse(out) as { pid: number }).pid;
  }

  /** Every session, ended ones too, newest first. */
  async sessions(): Promise<SessionView[]> {
    const { out } = await this.glovebox(['ps', '--all', '--json']);
    return JSON.parse(out) as SessionView[];
  }

  async session(name: string): Promise<SessionView> {
    const found = (await this.sessions()).find((session) => session.name === name);
    if (found === undefined) throw new Error(`there is no session ${name}`);
    return found;
  }

  /** Runs the launcher to its end. */
  glovebox(
    args: readonly string[],
    options: {
      readonly input?: string | Buffer;
      readonly cwd?: string;
      readonly env?: Record<string, string>;
    } = {},
  ): Promise<Ran> {
    const [program, ...rest] = this.command(args);
    return new Promise((resolve) => {
      const child = execFile(
        program,
        rest,
        {
          cwd: options.cwd ?? this.project,
          env: { ...this.env, ...options.env },
          maxBuffer: 256 << 20,
          encoding: 'buffer',
        },
        (error, out, err) => {
          resolve({
            code: error === null ? 0 : typeof error.code === 'number' ? error.code : null,
            out: out.toString(),
            err: err.toString(),
          });
        },
      );
      child.stdin?.end(options.input ?? '');
    });
  }

  /** Starts the launcher and leaves it running. */
  start(args: readonly string[], cwd = this.project): ChildProcess {
    const [program, ...rest] = this.command(args);
    return spawn(program, rest, { cwd, env: this.env, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  get state(): string {
    return join(this.home, '.local/state/glovebox');
  }

  async close(): Promise<void> {
    await this.glovebox(['down']);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The launcher’s command line, for a test that starts it in a way of its own. */
  command(args: readonly string[]): [string, ...string[]] {
    if (this.#person !== undefined) {
      const { uid, launcher } = this.#person;
      const become = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
      return uid === process.getuid?.() ? [launcher, ...args] : ['setpriv', ...become, launcher, ...args];
    }
    const launcher = join(checkout, 'glovebox');
    if (this.#hosts.length === 0) return [launcher, ...args];
    // A mount namespace in which /etc/hosts is ours: the daemon that is started inside inherits it.
    const script = 'mount --bind -- "$1" /etc/hosts; shift; exec "$@"';
    return [
      'unshare',
      '--mount',
      '--propagation',
      'private',
      '--',
      'sh',
      '-ec',
      script,
      'sh',
      join(this.folder, 'hosts'),
      launcher,
      ...args,
    ];
  }
}
