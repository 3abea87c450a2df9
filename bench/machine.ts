import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CreateSessionRequest, SessionView } from '../pure/contracts/index.ts';
import { createOperatorClient, type OperatorClient } from '../operator/client/index.ts';

export const thisCheckout = dirname(dirname(fileURLToPath(import.meta.url)));

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly wall: number;
}

/** A Glovebox of its own: a home, a project, a control plane, from a checkout that has been set up. */
export class Machine {
  readonly checkout: string;
  readonly folder = mkdtempSync(join(tmpdir(), 'gb-bench-'));
  readonly home = join(this.folder, 'home');
  readonly project = join(this.folder, 'project');
  readonly state = join(this.home, '.local/state/glovebox');
  readonly env: Readonly<Record<string, string>>;
  readonly client: OperatorClient;

  private constructor(checkout: string) {
    this.checkout = checkout;
    for (const path of [this.home, this.project]) mkdirSync(path, { recursive: true, mode: 0o755 });
    writeFileSync(join(this.project, 'README.md'), '# A small project\n');
    this.env = {
      HOME: this.home,
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
      LANG: 'C.UTF-8',
    };
    this.client = createOperatorClient(join(this.state, 'run/operator.sock'));
  }

  static async start(checkout = thisCheckout): Promise<Machine> {
    const machine = new Machine(checkout);
    const up = await machine.glovebox(['up']);
    if (up.code !== 0) throw new Error(`glovebox up: ${up.err}`);
    // What the measuring host lacks is given up by name, as a person would.
    const report = await machine.client.call('host', {});
    for (const { id, state, waivable } of report.guarantees)
      if (state === 'missing' && waivable) await machine.glovebox(['doctor', '--waive', id]);
    await machine.warm();
    return machine;
  }

  /** Until nothing of an earlier run is left and a sidecar waits for the next one. */
  async warm(): Promise<void> {
    for (;;) {
      const [health, open] = await Promise.all([
        this.client.call('health', {}),
        this.client.call('listSessions', {}),
      ]);
      if (health.warmSidecars > 0 && open.length === 0) return;
      await pause(20);
    }
  }

  async glovebox(args: readonly string[], stdin: 'ignore' | Buffer = 'ignore'): Promise<Ran> {
    return timed(
      () =>
        spawn(join(this.checkout, 'glovebox'), args, {
          cwd: this.project,
          env: this.env,
          stdio: [stdin === 'ignore' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
        }),
      stdin,
    );
  }

  request(command: readonly string[], more: Partial<CreateSessionRequest> = {}): CreateSessionRequest {
    return {
      command: [...command],
      workspace: this.project,
      env: {},
      terminal: null,
      stdin: false,
      detach: false,
      path: this.env['PATH'] ?? '/usr/bin',
      ...more,
    };
  }

  async until(id: string, holds: (session: SessionView) => boolean): Promise<SessionView> {
    for (;;) {
      const session = await this.client.call('getSession', { params: { id } });
      if (holds(session)) return session;
      if (session.state === 'ended')
        throw new Error(`session ended: ${session.reason ?? ''} ${session.detail ?? ''}`);
      await pause(10);
    }
  }

  async close(): Promise<void> {
    await this.glovebox(['down']);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** From right before the start to the exit, all output read. */
export function timed(start: () => ChildProcess, stdin: 'ignore' | Buffer = 'ignore'): Promise<Ran> {
  const began = performance.now();
  const child = start();
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  if (stdin !== 'ignore') child.stdin?.end(stdin);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({
        code,
        out: Buffer.concat(out).toString('latin1'),
        err: Buffer.concat(err).toString(),
        wall: performance.now() - began,
      }),
    );
  });
}
