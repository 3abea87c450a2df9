import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** A real control plane, from the built bundles, with folders of its own. */
export class ControlPlaneWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'glovebox-control-plane-'));
  readonly state = join(this.folder, 'state');
  readonly runtime = join(this.folder, 'run');
  readonly workspace = join(this.folder, 'project');
  readonly socket = join(this.runtime, 'operator.sock');
  #child: ChildProcess | undefined;
  #log = '';

  /** The file that says what several of them share. */
  shared: string | undefined;
  readonly #entry: readonly string[];

  /** `certificateSeconds`: shorter than the product's, for what takes several certificate lifetimes. */
  constructor(certificateSeconds?: number) {
    mkdirSync(this.workspace);
    this.#entry =
      certificateSeconds === undefined
        ? [join(root, 'dist/control-plane.js')]
        : ['--import', 'tsx', join(import.meta.dirname, 'short-lived-daemon.ts'), String(certificateSeconds)];
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Resolves when the operator socket answers; rejects with the log when it ended before. */
  async start(): Promise<void> {
    const { exited, child } = this.spawn();
    this.#child = child;
    const over = exited.then((code) => {
      throw new Error(`the control plane ended with ${code ?? 'a signal'}: ${this.#log}`);
    });
    over.catch(() => undefined);
    await Promise.race([
      until(async () => existsSync(this.socket) && (await this.call('GET', '/v1/health')).status === 200),
      over,
    ]);
  }

  spawn(): { child: ChildProcess; exited: Promise<number | null>; output: () => string } {
    const child = spawn(
      process.execPath,
      [
        ...this.#entry,
        ...['--state', this.state, '--runtime', this.runtime, '--config', join(this.folder, 'config')],
        ...['--tools', join(root, 'dist/tools.json')],
        ...(this.shared === undefined ? [] : ['--shared', this.shared]),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { HOME: this.folder, PATH: '/usr/bin:/bin' } },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        output += text.toString();
        this.#log += text.toString();
      });
    }
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { child, exited, output: () => output };
  }

  async call(method: string, path: string, body?: unknown): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const call = request({
        socketPath: this.socket,
        method,
        path,
        headers:
          payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
      });
      call.on('error', reject);
      call.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => {
          let parsed: unknown = text;
          try {
            parsed = JSON.parse(text);
          } catch {
            // A log or an export is no JSON document.
          }
          resolve({ status: response.statusCode ?? 0, body: parsed });
        });
      });
      call.end(payload);
    });
  }

  /** Gives up what this host lacks and may be given up, as a person would. */
  async waiveWhatIsMissing(): Promise<void> {
    const { body } = await this.call('GET', '/v1/host');
    const { guarantees } = body as { guarantees: { id: string; state: string; waivable: boolean }[] };
    for (const { id, state, waivable } of guarantees) {
      if (state === 'missing' && waivable)
        await this.call('POST', '/v1/host/waivers', { name: id, waived: true });
    }
  }

  async run(command: readonly string[], more: object = {}): Promise<{ id: string }> {
    const answer = await this.call('POST', '/v1/sessions', {
      command,
      workspace: this.workspace,
      detach: true,
      ...more,
    });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    return answer.body as { id: string };
  }

  async session(id: string): Promise<Record<string, unknown>> {
    return (await this.call('GET', `/v1/sessions/${id}`)).body as Record<string, unknown>;
  }

  async untilState(id: string, state: string): Promise<Record<string, unknown>> {
    await until(async () => (await this.session(id))['state'] === state);
    return await this.session(id);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }

  async close(): Promise<void> {
    await this.kill('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Waits for a condition, not for a time; the test's own limit ends it. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 25));
}

/** Processes whose ancestor is `pid`, itself not among them. */
export function descendantsOf(pid: number): number[] {
  const children = (parent: number): number[] => {
    try {
      return readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
        .split(' ')
        .filter((text) => text !== '')
        .map(Number);
    } catch {
      // It ended meanwhile.
      return [];
    }
  };
  return children(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
