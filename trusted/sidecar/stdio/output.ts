import type { Readable, Writable } from 'node:stream';
import { limits } from '../../../pure/contracts/index.ts';
import type { OutputLog } from './output-log.ts';
import type { Screen } from './screen.ts';
import { Scrollback } from './scrollback.ts';

interface Sink {
  readonly stream: Writable;
  /** Output waits for a sink that gates; one that does not is cut off when it lags too far behind. */
  readonly gates: boolean;
  readonly over: Promise<void>;
  /** What comes while the picture of the screen is made, which has to be written before it. */
  late: Buffer[] | undefined;
}

/** Clears what a question left, so that a picture is drawn on a blank screen. */
const blank = Buffer.from('\u001b[?1049l\u001b[!p\u001b[?6l\u001b[r\u001b[0m\u001b[H\u001b[2J');

/** One output stream of the command, to whoever is attached, the log, and what is kept for who comes later. */
export class Output {
  readonly #log: OutputLog;
  readonly #scrollback = new Scrollback(limits.scrollback.value);
  readonly #screen: Screen | undefined;
  readonly #sinks = new Set<Sink>();
  readonly #full = new Set<Sink | Screen>();
  readonly ended: Promise<void>;
  #finish: () => void = () => undefined;
  #over = false;
  #source: Readable | undefined;

  /** With a screen, who comes later is shown that, and not the bytes that led to it. */
  constructor(log: OutputLog, screen?: Screen) {
    this.#log = log;
    this.#screen = screen;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  get opened(): boolean {
    return this.#source !== undefined;
  }

  from(source: Readable): void {
    this.#source = source;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.once('close', () => this.end());
    source.once('end', () => this.end());
    if (this.#full.size > 0) source.pause();
  }

  async to(stream: Writable, gates: boolean): Promise<void> {
    const over = new Promise<void>((resolve) => {
      stream.once('close', resolve);
      stream.once('finish', resolve);
    });
    const sink: Sink = { stream, gates, over, late: undefined };
    stream.once('close', () => {
      this.#sinks.delete(sink);
      this.#drained(sink);
    });
    const before = this.#scrollback.read();
    if (before.length > 0) stream.write(before);
    this.#sinks.add(sink);
    if (this.#screen?.touched === true) await this.#draw(sink, this.#screen, true);
    if (this.#over && this.#sinks.has(sink)) stream.end();
  }

  /** Draws the screen anew for one of those who look. */
  async redraw(stream: Writable): Promise<void> {
    const sink = [...this.#sinks].find((one) => one.stream === stream);
    if (sink === undefined || sink.late !== undefined || this.#screen === undefined) return;
    await this.#draw(sink, this.#screen, false);
  }

  /** No more comes. Whoever is attached gets what is on its way, then the end. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const { stream, late } of this.#sinks) if (late === undefined) stream.end();
    this.#finish();
  }

  /** Those that gate have all of it; the others had their time. */
  async delivered(patience: Promise<unknown>): Promise<void> {
    const of = (gates: boolean): Promise<unknown> =>
      Promise.all([...this.#sinks].filter((sink) => sink.gates === gates).map((sink) => sink.over));
    await of(true);
    await Promise.race([of(false), patience]);
  }

  async #draw(sink: Sink, screen: Screen, joins: boolean): Promise<void> {
    sink.late = [];
    if (sink.gates) this.#hold(sink);
    const picture = await screen.picture(joins);
    const { late } = sink;
    sink.late = undefined;
    if (sink.gates) this.#drained(sink);
    if (!this.#sinks.has(sink)) return;
    for (const chunk of [...(joins ? [] : [blank]), picture, ...late]) this.#give(sink, chunk);
    if (this.#over) sink.stream.end();
  }

  #take(chunk: Buffer): void {
    this.#log.write(chunk);
    if (this.#screen === undefined) this.#scrollback.push(chunk);
    else this.#show(this.#screen, chunk);
    for (const sink of this.#sinks) {
      if (sink.late === undefined) this.#give(sink, chunk);
      else this.#keepFor(sink, chunk);
    }
  }

  /** A screen that is behind holds the command back, as a reader does: what waits for it is memory of this process. */
  #show(screen: Screen, chunk: Buffer): void {
    screen.push(chunk);
    const behind = this.#full.has(screen) ? undefined : screen.behind();
    if (behind === undefined) return;
    this.#hold(screen);
    void behind.then(() => this.#drained(screen));
  }

  #keepFor(sink: Sink, chunk: Buffer): void {
    sink.late?.push(chunk);
    const waiting = (sink.late ?? []).reduce((sum, one) => sum + one.length, 0);
    if (waiting > limits.attachLag.value) setImmediate(() => sink.stream.destroy());
  }

  #give(sink: Sink, chunk: Buffer): void {
    sink.stream.write(chunk);
    // Node calls a stream full at 16 KB: a chunk at a time would go from process to process, each waiting for the next.
    if (sink.stream.writableLength <= limits.stdioAhead.value) return;
    if (!sink.gates) {
      if (sink.stream.writableLength > limits.attachLag.value) setImmediate(() => sink.stream.destroy());
      return;
    }
    if (this.#full.has(sink)) return;
    this.#hold(sink);
    sink.stream.once('drain', () => this.#drained(sink));
  }

  #hold(what: Sink | Screen): void {
    this.#full.add(what);
    this.#source?.pause();
  }

  #drained(what: Sink | Screen): void {
    if (this.#full.delete(what) && this.#full.size === 0) this.#source?.resume();
  }
}
