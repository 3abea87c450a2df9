import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  GloveboxError,
  limits,
  type EgressCounts,
  type SandboxId,
  type SessionId,
  type SidecarBootstrap,
} from '../../../pure/contracts/index.ts';
import type { Ids } from '../random-ids.ts';
import type { Launch } from './launch.ts';
import { SidecarProcess } from './sidecar-process.ts';

export interface WarmSidecar {
  readonly process: SidecarProcess;
  /** The session's own authority: trusted inside its sandbox only. */
  readonly caPem: string;
  /** The session's folder, with its output log. */
  readonly folder: string;
}

export interface SidecarPoolOptions {
  readonly size: number;
  readonly bundle: string;
  readonly launch: Launch;
  /** One folder for each session below it. */
  readonly sessionsFolder: string;
  readonly bootstrap: (session: SessionId, sandbox: SandboxId) => Promise<SidecarBootstrap>;
  readonly ids: Ids;
  readonly onLine: (session: SessionId, line: string) => void;
  /** What a sidecar's egress proxy did since its last report. */
  readonly onCounts?: (counts: EgressCounts) => void;
  readonly onError: (error: unknown, doing: string) => void;
}

/** The output log is the fifth descriptor of a sidecar: after its three streams and its channel. */
export const outputLogFd = 4;

/** Keeps sidecars ready: with identity, bus and session authority, so that a run waits for none of these. */
export class SidecarPool {
  readonly #options: SidecarPoolOptions;
  readonly #warm: WarmSidecar[] = [];
  readonly #starting = new Set<Promise<WarmSidecar>>();
  readonly #children = new Set<SidecarProcess>();
  readonly #queue: (() => void)[] = [];
  #atOnce = 0;
  #closed = false;

  constructor(options: SidecarPoolOptions) {
    this.#options = options;
  }

  get ready(): number {
    return this.#warm.length;
  }

  /** Starts what is missing, without waiting for it. */
  fill(): void {
    if (this.#closed) return;
    while (this.#warm.length + this.#starting.size < this.#options.size) {
      const starting = this.#start();
      this.#starting.add(starting);
      starting
        .then(
          (sidecar) => this.#keep(sidecar),
          (error: unknown) => this.#options.onError(error, 'warming a sidecar'),
        )
        .finally(() => this.#starting.delete(starting));
    }
  }

  /** A warm one, or the next that becomes warm. The caller says `fill()` when the machine has time for another. */
  async take(): Promise<WarmSidecar> {
    for (;;) {
      const sidecar = this.#warm.shift();
      if (sidecar === undefined) break;
      if (sidecar.process.alive) return sidecar;
    }
    const [first] = this.#starting;
    if (first === undefined) return await this.#start();
    await first.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    return this.#warm.length > 0 || this.#starting.size > 0 ? await this.take() : await this.#start();
  }

  /** What they were connected to is gone: new ones take the place of those that wait. */
  renew(): void {
    for (const { process } of this.#warm.splice(0)) process.kill();
    this.fill();
  }

  /** Ends all that were not taken, and waits for those that were: their sessions end them. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#starting]);
    for (const { process } of this.#warm.splice(0)) process.kill();
    await Promise.all([...this.#children].map(async (child) => await child.exited));
  }

  #keep(sidecar: WarmSidecar): void {
    if (this.#closed) {
      sidecar.process.kill();
      return;
    }
    this.#warm.push(sidecar);
    void sidecar.process.exited.then(() => {
      const index = this.#warm.indexOf(sidecar);
      if (index < 0) return;
      this.#warm.splice(index, 1);
      const later = setTimeout(() => this.fill(), limits.restartBackoff.value);
      later.unref();
    });
  }

  /** Some at a time: fifty that start at the same moment are all late, and a start that is late counts as failed. */
  async #start(): Promise<WarmSidecar> {
    if (this.#atOnce >= limits.sidecarStarts.value)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#atOnce += 1;
    try {
      return await this.#startNow();
    } finally {
      const next = this.#queue.shift();
      // Its place goes to the next one, so that nobody comes in between.
      if (next === undefined) this.#atOnce -= 1;
      else next();
    }
  }

  async #startNow(): Promise<WarmSidecar> {
    const { ids, launch, bundle, sessionsFolder, bootstrap, onLine } = this.#options;
    if (this.#closed) throw new GloveboxError('GB_DAEMON_UNREACHABLE', { detail: 'it is shutting down' });
    const session = ids.session();
    const sandbox = ids.sandbox();
    const folder = join(sessionsFolder, session);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const log = await open(join(folder, 'output.log'), 'a', 0o600);
    try {
      const child = launch(bundle, { fds: [log.fd] });
      const sidecar = new SidecarProcess(child, session, sandbox);
      sidecar.onReport((report) => {
        if (report.type === 'egress-counted') this.#options.onCounts?.(report.counts);
      });
      this.#children.add(sidecar);
      void sidecar.exited.then(() => this.#children.delete(sidecar));
      for (const stream of [child.stdout, child.stderr]) {
        stream?.setEncoding('utf8');
        stream?.on('data', (text: string) => {
          for (const line of text.split('\n')) if (line !== '') onLine(session, line.slice(0, 2000));
        });
      }
      const caPem = await warmed(sidecar, await bootstrap(session, sandbox));
      return { process: sidecar, caPem, folder };
    } finally {
      await log.close();
    }
  }
}

async function warmed(sidecar: SidecarProcess, bootstrap: SidecarBootstrap): Promise<string> {
  const failed = (detail: string): GloveboxError =>
    new GloveboxError('GB_UPSTREAM_FAILED', { what: 'A new sidecar', detail });
  let stop: () => void = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      timer = setTimeout(() => reject(failed('it was not ready in time')), limits.sidecarStart.value);
      stop = sidecar.onReport((report) => {
        if (report.type === 'warm') resolve(report.caPem);
        if (report.type === 'failed') reject(failed(report.detail));
      });
      void sidecar.exited.then(({ code, signal }) =>
        reject(failed(`it ended at its start (${signal ?? code ?? ''})`)),
      );
      sidecar.send(bootstrap).catch(reject);
    });
  } catch (error) {
    sidecar.kill();
    throw error;
  } finally {
    clearTimeout(timer);
    stop();
  }
}
