import type { Readable, Writable } from 'node:stream';
import { limits, type AttachEvent } from '../../../pure/contracts/index.ts';
import { freshLine, terminalReset, TerminalFilter } from '../../../pure/render/index.ts';
import type { Attachment } from '../../client/index.ts';
import type { QuestionScreen } from './consent-desk.ts';
import { OutputGate } from '../terminal/output-gate.ts';
import { TerminalInput } from '../terminal/terminal-input.ts';

export interface LocalEnds {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

export interface IoShape {
  /** The session has a terminal. */
  readonly terminal: boolean;
  readonly forwardInput: boolean;
  /** Looks at what is typed before it is sent; undefined where nothing is special. */
  readonly intercept?: (chunk: Buffer, detach: () => void) => Buffer;
}

type Exited = Extract<AttachEvent, { type: 'exited' }>;

const SIGHUP = 1;
const SIGPIPE = 13;

/** Carries one attachment's input and output: bytes as they are through pipes, filtered where a person's terminal shows them. */
export class SessionIo implements QuestionScreen {
  readonly #attachment: Attachment;
  readonly #ends: LocalEnds;
  readonly #shape: IoShape;
  readonly #gate = new OutputGate();
  readonly #filters: TerminalFilter[] = [];
  readonly #pumps: Promise<void>[] = [];
  #input: TerminalInput | undefined;
  #detached = false;

  constructor(attachment: Attachment, ends: LocalEnds, shape: IoShape) {
    this.#attachment = attachment;
    this.#ends = ends;
    this.#shape = shape;
  }

  /** Whether the person left; the session goes on. */
  get detached(): boolean {
    return this.#detached;
  }

  /** Where questions read from: the terminal that is the program's stdin. */
  get input(): TerminalInput {
    this.#input ??= new TerminalInput(this.#ends.stdin, () => this.#inputEnded());
    return this.#input;
  }

  start(): void {
    const { stdin, stdout, stderr } = this.#ends;
    if (this.#shape.terminal) {
      const terminal = this.#attachment.stdio('terminal');
      this.#forward(stdin, terminal);
      this.#pump(terminal, stdout);
      if (stdout.isTTY) stdout.on('resize', this.#resized);
      return;
    }
    if (this.#shape.forwardInput) this.#forward(stdin, this.#attachment.stdio('stdin'));
    this.#pump(this.#attachment.stdio('stdout'), stdout);
    this.#pump(this.#attachment.stdio('stderr'), stderr);
  }

  /** Until the command has ended and all of its output is written; undefined where the connection ended before. */
  async ended(): Promise<Exited | undefined> {
    let exited: Exited | undefined;
    for await (const event of this.#attachment.events) {
      if (event.type !== 'exited') continue;
      exited = event;
      break;
    }
    await Promise.all(this.#pumps);
    return exited;
  }

  /** The terminal as it was before; also for a crash, so it must not wait for anything. */
  restore(): void {
    this.#ends.stdout.off('resize', this.#resized);
    const touched = this.#filters.some((filter) => filter.touched);
    const alternate = this.#alternate();
    this.#filters.length = 0;
    this.#input?.restore();
    const screen = this.#screen();
    if (touched && screen !== undefined) screen.write(terminalReset(alternate));
  }

  take(): void {
    this.#gate.close();
    this.#screen()?.write(terminalReset(this.#alternate()) + freshLine);
  }

  giveBack(): void {
    if (this.#shape.terminal && this.#ends.stdout.isTTY) {
      this.#ends.stdout.write(this.#filters.map((filter) => filter.modesAgain()).join(''));
      // What stood here before the question, from who has kept it; it comes after the output that was held back.
      this.#attachment.send({ type: 'redraw' });
      // Another size and back: the program draws its screen again.
      const { rows, columns: cols } = this.#ends.stdout;
      this.#attachment.send({ type: 'resize', rows, cols: Math.max(1, cols - 1) });
      this.#attachment.send({ type: 'resize', rows, cols });
    }
    this.#gate.open();
  }

  readonly #detach = (): void => {
    this.#detached = true;
    this.#attachment.send({ type: 'detach' });
    this.#attachment.close();
  };

  readonly #resized = (): void => {
    const { rows, columns: cols } = this.#ends.stdout;
    if (rows > 0 && cols > 0)
      this.#attachment.send({ type: 'resize', rows: Math.min(rows, 1000), cols: Math.min(cols, 1000) });
  };

  #screen(): NodeJS.WriteStream | undefined {
    const { stdout, stderr } = this.#ends;
    return stdout.isTTY ? stdout : stderr.isTTY ? stderr : undefined;
  }

  #alternate(): boolean {
    return this.#filters.some((filter) => filter.alternate);
  }

  #inputEnded(): void {
    // The person's terminal is gone.
    if (this.#shape.terminal) this.#attachment.send({ type: 'signal', signal: SIGHUP });
  }

  #forward(from: NodeJS.ReadStream, to: Writable): void {
    if (!from.isTTY) {
      passOn(from, to);
      return;
    }
    const { intercept } = this.#shape;
    const claim = this.input.claim((chunk) => {
      const bytes = intercept === undefined ? chunk : intercept(chunk, this.#detach);
      if (bytes.length === 0 || to.destroyed || to.writableEnded || to.write(bytes)) return;
      claim.pause();
      to.once('drain', () => claim.resume());
    }, this.#shape.terminal);
    if (!this.#shape.terminal) from.on('end', () => to.end());
  }

  #pump(from: Readable, to: NodeJS.WriteStream): void {
    // Pipes get every byte as it is; only what a terminal will interpret is filtered (R47).
    const filter = to.isTTY ? new TerminalFilter() : undefined;
    if (filter !== undefined) this.#filters.push(filter);
    let broken = false;
    to.on('error', () => {
      if (broken) return;
      broken = true;
      // As the kernel would tell a program whose reader went away.
      this.#attachment.send({ type: 'signal', signal: to.isTTY ? SIGHUP : SIGPIPE });
    });
    this.#pumps.push(
      this.#copy(from, to, filter, () => broken).catch((error: unknown) => {
        // A connection that breaks ends the output; what became of the session is asked for afterwards.
        if (!from.destroyed) from.destroy(error instanceof Error ? error : undefined);
      }),
    );
  }

  async #copy(
    from: Readable,
    to: Writable,
    filter: TerminalFilter | undefined,
    broken: () => boolean,
  ): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (filter !== undefined) await this.#gate.passed();
      const bytes = filter === undefined ? chunk : filter.push(chunk);
      if (broken() || bytes.length === 0) continue;
      if (!to.write(bytes) && !broken()) await drained(to);
    }
    const rest = filter?.end();
    if (rest !== undefined && rest.length > 0 && !broken()) to.write(rest);
    if (!broken()) await flushed(to);
  }
}

/** Until all that was written is out, or never will be: 'drain' comes only after a write that found no room. */
const flushed = (to: Writable): Promise<void> =>
  new Promise((resolve) => {
    to.write('', () => resolve());
  });

/** Until there is room again, or never will be. */
function drained(to: Writable): Promise<void> {
  const events = ['drain', 'close', 'error'];
  return new Promise((resolve) => {
    const done = (): void => {
      for (const name of events) to.off(name, done);
      resolve();
    };
    for (const name of events) to.on(name, done);
  });
}

/** As `pipe`, but with more than one chunk on its way: Node calls an HTTP/2 stream full at 16 KB. */
function passOn(from: Readable, to: Writable): void {
  const take = (chunk: Buffer): void => {
    if (to.destroyed || to.writableEnded) return;
    to.write(chunk);
    if (to.writableLength <= limits.stdioAhead.value) return;
    from.pause();
    to.once('drain', () => from.resume());
  };
  const end = (): void => void to.end();
  from.on('data', take);
  from.once('end', end);
  to.once('close', () => {
    from.off('data', take).off('end', end);
    from.pause();
  });
}
