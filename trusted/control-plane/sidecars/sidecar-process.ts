import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import {
  GloveboxError,
  sidecarReport,
  type SandboxId,
  type SessionId,
  type SidecarCommand,
  type SidecarReport,
} from '../../../pure/contracts/index.ts';

export interface SidecarExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One sidecar, spoken to over the channel that it inherited. What it reports is parsed: it is trusted, its bugs are not. */
export class SidecarProcess {
  readonly sessionId: SessionId;
  readonly sandboxId: SandboxId;
  readonly exited: Promise<SidecarExit>;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(report: SidecarReport) => void>();
  #gone = false;

  constructor(child: ChildProcess, sessionId: SessionId, sandboxId: SandboxId) {
    this.#child = child;
    this.sessionId = sessionId;
    this.sandboxId = sandboxId;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => {
        if (child.pid === undefined) resolve({ code: null, signal: null });
      });
    });
    void this.exited.then(() => {
      this.#gone = true;
    });
    child.on('message', (message) => {
      const report = sidecarReport.safeParse(message);
      if (!report.success) {
        // It says what no sidecar says: whatever it has become, its session is over.
        this.kill();
        return;
      }
      for (const listener of [...this.#listeners]) listener(report.data);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return !this.#gone && this.#child.connected;
  }

  onReport(listener: (report: SidecarReport) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when the message (and the connection with it) is handed to the kernel. */
  async send(command: SidecarCommand, handle?: Socket): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null): void => {
        if (error === null) resolve();
        else reject(gone(error));
      };
      if (!this.alive) return reject(gone());
      if (handle === undefined) this.#child.send(command, done);
      else give(this.#child, command, handle, done);
    });
  }

  kill(): void {
    if (!this.#gone) this.#child.kill('SIGKILL');
  }
}

/**
 * The connection is the child's from here on. It forgets the server that accepted it first: a server whose connections
 * went to a child that ended since never reports its own close (Node 20, net.Server with no worker left).
 */
function give(
  child: ChildProcess,
  command: SidecarCommand,
  handle: Socket,
  done: (error: Error | null) => void,
): void {
  Reflect.set(handle, 'server', undefined);
  child.send(command, handle, { keepOpen: false }, (error) => {
    // Our half of it holds no descriptor any more: this only takes it off its server's count.
    handle.destroy();
    done(error);
  });
}

const gone = (cause?: Error): GloveboxError =>
  new GloveboxError(
    'GB_UPSTREAM_FAILED',
    { what: 'The sidecar', detail: 'its process has ended' },
    { cause },
  );
