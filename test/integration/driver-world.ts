import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  chmodSync,
  existsSync,
  linkSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  readFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asSandboxId, encodeId, tiers } from '../../pure/contracts/index.ts';
import type {
  AppliedLimit,
  GvisorSettings,
  ReapReport,
  SandboxEnd,
  SandboxRequest,
} from '../../trusted/drivers/index.ts';

/** As root, and as an ordinary user; a test run of an ordinary user has only the latter. */
export type Mode = 'root' | 'user';
export const asRoot = process.geteuid?.() === 0;
export const modes: readonly Mode[] = asRoot ? ['root', 'user'] : ['user'];
export const userId = asRoot ? 12345 : (process.geteuid?.() ?? 12345);

const init = join(import.meta.dirname, '../../dist/init');

export interface Outcome {
  readonly type: 'exited' | 'failed' | 'ended';
  readonly code?: number | null;
  readonly signal?: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly reason?: SandboxEnd['reason'];
  readonly detail?: string;
}

/** A machine's worth of folders for one mode, and the process that holds the driver. */
export class World {
  readonly folder: string;
  readonly mode: Mode;
  readonly settings: GvisorSettings;
  readonly #pending = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #host: ChildProcess | undefined;
  #number = 0;

  constructor(mode: Mode, runsc: string) {
    this.mode = mode;
    this.folder = mkdtempSync(join(tmpdir(), `gb-driver-${mode}-`));
    chmodSync(this.folder, 0o755);
    const tools = this.makeFolder('tools');
    for (const [from, name] of [
      [runsc, 'runsc'],
      [init, 'init'],
    ] as const) {
      const to = join(tools, name);
      try {
        linkSync(from, to);
      } catch {
        copyFileSync(from, to);
      }
    }
    this.settings = {
      runsc: join(tools, 'runsc'),
      init: join(tools, 'init'),
      folder: this.makeFolder('driver'),
      platform: 'systrap',
    };
  }

  /** A folder that belongs to the mode's user. */
  makeFolder(name: string, mode = 0o755): string {
    const path = join(this.folder, name);
    mkdirSync(path, { recursive: true });
    chmodSync(path, mode);
    this.own(path);
    return path;
  }

  own(path: string): void {
    if (asRoot && this.mode === 'user') chownSync(path, userId, userId);
  }

  request(change: Partial<SandboxRequest> = {}): SandboxRequest {
    const sandboxId = asSandboxId(encodeId(randomBytes(16)));
    return {
      sandboxId,
      role: 'agent',
      tier: tiers.starter,
      stateFolder: this.makeFolder(`state-${sandboxId}`, 0o700),
      toolFolders: [],
      folders: [],
      caPem: '',
      homeFiles: {},
      timeLimitMs: 60_000,
      ...change,
    };
  }

  staged(folder: string, change: Partial<SandboxRequest> = {}): SandboxRequest {
    return this.request({ workspace: { folder, mode: 'staged', show: [], readOnly: [] }, ...change });
  }

  async start(request: SandboxRequest): Promise<{ pid: number; hidden: string[] }> {
    return (await this.call({ op: 'start', request })) as { pid: number; hidden: string[] };
  }

  async run(request: SandboxRequest, argv: string[], cwd?: string): Promise<Outcome> {
    const sandbox = request.sandboxId;
    return (await this.call({ op: 'run', sandbox, argv, ...(cwd === undefined ? {} : { cwd }) })) as Outcome;
  }

  sh = (request: SandboxRequest, script: string, cwd?: string): Promise<Outcome> =>
    this.run(request, ['/bin/sh', '-c', script], cwd);
  limits = async (request: SandboxRequest): Promise<AppliedLimit[]> =>
    (await this.call({ op: 'limits', sandbox: request.sandboxId })) as AppliedLimit[];
  kill = async (request: SandboxRequest): Promise<SandboxEnd> =>
    (await this.call({ op: 'kill', sandbox: request.sandboxId })) as SandboxEnd;
  ended = async (request: SandboxRequest): Promise<SandboxEnd> =>
    (await this.call({ op: 'ended', sandbox: request.sandboxId })) as SandboxEnd;
  reap = async (keep: string[] = []): Promise<ReapReport> =>
    (await this.call({ op: 'reap', keep })) as ReapReport;

  async call(call: object): Promise<unknown> {
    this.#host ??= await this.#startHost();
    this.#number += 1;
    const number = this.#number;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#host?.send({ number, call });
    });
  }

  /** The driver's process dies as if the machine had lost it; the next call starts another. */
  async killHost(): Promise<void> {
    const host = this.#host;
    this.#host = undefined;
    if (host === undefined) return;
    const gone = new Promise((resolve) => host.once('exit', resolve));
    host.kill('SIGKILL');
    await gone;
  }

  async close(): Promise<void> {
    await this.killHost();
    await this.reap();
    await this.killHost();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #startHost(): Promise<ChildProcess> {
    const host = fork(join(import.meta.dirname, 'driver-host.ts'), [JSON.stringify(this.settings)], {
      execArgv: ['--import', 'tsx'],
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: this.makeFolder('home'),
      },
      ...(asRoot && this.mode === 'user' ? { uid: userId, gid: userId } : {}),
    });
    return new Promise((resolve, reject) => {
      host.once('exit', (code) => {
        const error = new Error(`the driver's process ended (${code})`);
        reject(error);
        for (const waiting of this.#pending.values()) waiting.reject(error);
        this.#pending.clear();
      });
      host.on('message', (message: { number: number; value?: unknown; error?: string }) => {
        if (message.number === 0) return resolve(host);
        const waiting = this.#pending.get(message.number);
        this.#pending.delete(message.number);
        if (message.error === undefined) waiting?.resolve(message.value);
        else waiting?.reject(new Error(message.error));
      });
    });
  }
}

/** runsc as the set-up leaves it. A test run without it fails rather than passing for nothing. */
export function findRunsc(): string {
  const path = (
    JSON.parse(readFileSync(new URL('../../dist/tools.json', import.meta.url), 'utf8')) as { runsc: string }
  ).runsc;
  if (!existsSync(path)) throw new Error(`no runsc at ${path}: run the set-up first`);
  return path;
}
