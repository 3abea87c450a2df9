import type { Duplex } from 'node:stream';
import { limits, type EndReason } from '../../../pure/contracts/index.ts';
import type { LinkCommand, StdioName, WindowSize } from '../../link/index.ts';
import { Attachment, type AttachStdio } from './attachment.ts';
import { Input } from './input.ts';
import type { InputGate } from './input-gate.ts';
import { Output } from './output.ts';
import { OutputLog } from './output-log.ts';
import { Screen } from './screen.ts';

export interface CommandStdioOptions {
  /** What the link calls the process. */
  readonly process: string;
  readonly terminal: WindowSize | null;
  /** Without, the command reads an end of input at once. */
  readonly stdin: boolean;
  readonly logFd: number | null;
  readonly send: (command: LinkCommand) => void;
  readonly report: {
    readonly attached: (count: number) => void;
    readonly detached: (attachId: string, foreground: boolean, orderly: boolean) => void;
  };
  readonly onError: (error: unknown) => void;
  readonly delay: (ms: number) => Promise<void>;
}

export interface CommandEnd {
  readonly code: number | null;
  readonly signal: number | null;
}

/** What goes in and out of the agent's command, and who is attached to it. */
export class CommandStdio {
  /** Resolves when the first foreground client has opened its streams. */
  readonly watched: Promise<void>;
  readonly #options: CommandStdioOptions;
  readonly #outputs: ReadonlyMap<'stdout' | 'stderr' | 'terminal', Output>;
  readonly #input: Input;
  readonly #screen: Screen | undefined;
  readonly #attachments = new Set<Attachment>();
  readonly #sizes = new Map<Attachment, WindowSize>();
  #watching: () => void = () => undefined;

  constructor(options: CommandStdioOptions) {
    this.#options = options;
    const log = new OutputLog(options.logFd, options.onError);
    this.#screen = options.terminal === null ? undefined : new Screen(options.terminal, options.onError);
    const names = options.terminal === null ? (['stdout', 'stderr'] as const) : (['terminal'] as const);
    this.#outputs = new Map(names.map((name) => [name, new Output(log, this.#screen)]));
    this.#input = new Input(options.terminal === null ? 'pipe' : 'terminal');
    if (options.terminal === null && !options.stdin) this.#input.close();
    this.watched = new Promise((resolve) => {
      this.#watching = resolve;
    });
  }

  /** A stream of the command's from the link. False: it should not be there. */
  wire(name: StdioName, stream: Duplex): boolean {
    if (name === 'stdin') {
      if (this.#options.terminal !== null) return false;
      // Nothing is read from it; without a reader its end would not be seen.
      stream.resume();
      this.#input.into(stream);
      return true;
    }
    const output = this.#outputs.get(name);
    if (output === undefined) return false;
    output.from(stream);
    if (name === 'terminal') this.#input.into(stream);
    void output.ended.then(() => stream.end());
    return true;
  }

  /** `gate` null: whoever attaches only looks. */
  attach(socket: Duplex, id: string, foreground: boolean, gate: InputGate | null): void {
    if (this.#attachments.size >= limits.attachments.value) return void socket.destroy();
    const needed = new Set<AttachStdio>(this.#outputs.keys());
    let terminal: Duplex | undefined;
    const attachment: Attachment = new Attachment(
      socket,
      { id, foreground },
      {
        command: (command) => {
          if (command.type === 'redraw') this.#redraw(terminal);
          else if (gate === null) return;
          else if (command.type === 'resize') this.#resize(attachment, command);
          else this.#options.send({ type: 'signal', id: this.#options.process, signal: command.signal });
        },
        stdio: (name, stream) => {
          if (!this.#serve(name, stream, foreground, gate)) return false;
          if (name === 'terminal') terminal = stream;
          needed.delete(name);
          if (foreground && needed.size === 0) this.#watching();
          return true;
        },
        gone: (orderly) => this.#gone(attachment, orderly),
      },
    );
    this.#attachments.add(attachment);
    this.#options.report.attached(this.#attachments.size);
  }

  /** After the command's exit: resolves when those who gate its output have all of it. */
  async delivered(): Promise<void> {
    const opening = this.#options.delay(limits.outputOpening.value);
    for (const output of this.#outputs.values()) {
      // Its streams may be opened after its exit is told, but not long after.
      void opening.then(() => {
        if (!output.opened) output.end();
      });
    }
    await Promise.all([...this.#outputs.values()].map((output) => output.ended));
    this.#input.close();
    const patience = this.#options.delay(limits.attachFlush.value);
    await Promise.all([...this.#outputs.values()].map((output) => output.delivered(patience)));
  }

  /** The session is over: everyone attached is told, once. */
  async finish(end: CommandEnd, reason: EndReason): Promise<void> {
    for (const output of this.#outputs.values()) output.end();
    const patience = this.#options.delay(limits.attachFlush.value);
    await Promise.all(
      [...this.#outputs.values()].map((output) => Promise.race([output.delivered(patience), patience])),
    );
    const told = [...this.#attachments].map((one) => one.finish({ type: 'exited', ...end, reason }));
    await Promise.race([Promise.allSettled(told), patience]);
    for (const attachment of [...this.#attachments]) attachment.close();
  }

  #serve(name: AttachStdio, stream: Duplex, foreground: boolean, gate: InputGate | null): boolean {
    if (name === 'stdin') {
      if (this.#options.terminal !== null) return false;
      stream.once('end', () => stream.end());
      if (gate === null) stream.resume();
      else this.#input.from(stream, gate);
      return true;
    }
    const output = this.#outputs.get(name);
    if (output === undefined) return false;
    if (name === 'terminal' && gate !== null) this.#input.from(stream, gate);
    else stream.resume();
    output.to(stream, foreground).catch(this.#options.onError);
    return true;
  }

  /** After a question, which has overwritten the screen of one of those who look. */
  #redraw(stream: Duplex | undefined): void {
    const output = this.#outputs.get('terminal');
    if (stream !== undefined && output !== undefined) output.redraw(stream).catch(this.#options.onError);
  }

  #gone(attachment: Attachment, orderly: boolean): void {
    this.#attachments.delete(attachment);
    if (this.#sizes.delete(attachment)) this.#applySize();
    this.#options.report.attached(this.#attachments.size);
    this.#options.report.detached(attachment.id, attachment.foreground, orderly);
  }

  #resize(attachment: Attachment, size: WindowSize): void {
    if (this.#options.terminal === null) return;
    this.#sizes.set(attachment, { rows: size.rows, cols: size.cols });
    this.#applySize();
  }

  /** What all who look can show: the smallest of their windows. */
  #applySize(): void {
    const sizes = [...this.#sizes.values()];
    if (sizes.length === 0) return;
    const rows = Math.min(...sizes.map((size) => size.rows));
    const cols = Math.min(...sizes.map((size) => size.cols));
    this.#screen?.resize({ rows, cols });
    this.#options.send({ type: 'resize', id: this.#options.process, rows, cols });
  }
}
