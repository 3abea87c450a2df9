import type { Duplex } from 'node:stream';
import { limits, type EndReason, type SidecarExec, type SidecarReport } from '../../pure/contracts/index.ts';
import type { LinkCommand, LinkEvent, StdioName } from '../link/index.ts';
import type { InputGate } from './stdio/input-gate.ts';
import { CommandStdio, type CommandEnd } from './stdio/command-stdio.ts';

const SIGHUP = 1;
const SIGKILL = 9;

export interface ExecsOptions {
  readonly send: (command: LinkCommand) => void;
  readonly report: (report: SidecarReport) => void;
  readonly onError: (error: unknown) => void;
  readonly delay: (ms: number) => Promise<void>;
}

interface Exec {
  readonly stdio: CommandStdio;
  started: boolean;
  over: boolean;
}

/** Further commands in the sandbox, beside the main one: each for one client, with whom it ends. */
export class Execs {
  readonly #options: ExecsOptions;
  readonly #all = new Map<string, Exec>();

  constructor(options: ExecsOptions) {
    this.#options = options;
  }

  /** It starts when its client is there to read it. */
  begin(order: SidecarExec): void {
    const { send, onError, delay } = this.#options;
    const { process, argv, env, cwd, terminal } = order;
    if (this.#all.has(process)) return;
    const exec: Exec = {
      started: false,
      over: false,
      stdio: new CommandStdio({
        process,
        terminal,
        stdin: order.stdin,
        logFd: null,
        send,
        report: {
          attached: () => undefined,
          detached: (_, __, orderly) => {
            if (!orderly) this.#abandon(process, exec).catch(onError);
          },
        },
        onError,
        delay,
      }),
    };
    this.#all.set(process, exec);
    const start = async (): Promise<void> => {
      const late = delay(limits.attachWait.value).then(() => 'late' as const);
      const come = await Promise.race([exec.stdio.watched, late]);
      if (exec.over) return;
      if (come === 'late')
        return await this.#end(process, exec, { code: null, signal: SIGHUP }, 'client-gone');
      exec.started = true;
      send({ type: 'start', id: process, argv, env, cwd, terminal, fd3: null });
    };
    start().catch(onError);
  }

  /** False: there is none of this name. */
  attach(process: string, socket: Duplex, attachId: string, gate: InputGate | null): boolean {
    const exec = this.#all.get(process);
    if (exec === undefined || exec.over) return false;
    exec.stdio.attach(socket, attachId, true, gate);
    return true;
  }

  wire(process: string, name: StdioName, stream: Duplex): boolean {
    const exec = this.#all.get(process);
    return exec?.started === true && exec.stdio.wire(name, stream);
  }

  /** What init says of a process that is not the main one. */
  event(event: Extract<LinkEvent, { type: 'started' | 'exited' | 'failed' }>): void {
    const exec = this.#all.get(event.id);
    if (exec === undefined || exec.over || event.type === 'started') return;
    if (event.type === 'failed') {
      const code = event.code === 'ENOENT' ? 127 : 126;
      this.#end(event.id, exec, { code, signal: null }, 'start-failed').catch(this.#options.onError);
      return;
    }
    const end = { code: event.code, signal: event.signal };
    exec.stdio
      .delivered()
      .then(() => this.#end(event.id, exec, end, 'exited'))
      .catch(this.#options.onError);
  }

  /** With the session. */
  async finish(reason: EndReason): Promise<void> {
    await Promise.all(
      [...this.#all].map(([process, exec]) => this.#end(process, exec, { code: null, signal: null }, reason)),
    );
  }

  /** Nobody reads it any more: told as a terminal that went away tells it, then ended. */
  async #abandon(process: string, exec: Exec): Promise<void> {
    const { send, delay } = this.#options;
    if (exec.over) return;
    if (!exec.started) return await this.#end(process, exec, { code: null, signal: SIGHUP }, 'client-gone');
    send({ type: 'signal', id: process, signal: SIGHUP });
    await delay(limits.endGrace.value);
    // Of one that has ended meanwhile init knows nothing any more.
    send({ type: 'signal', id: process, signal: SIGKILL });
  }

  async #end(process: string, exec: Exec, end: CommandEnd, reason: EndReason): Promise<void> {
    if (exec.over) return;
    exec.over = true;
    this.#all.delete(process);
    await exec.stdio.finish(end, reason);
    this.#options.report({ type: 'exec-exited', process, ...end });
  }
}
