import type { Readable, Writable } from 'node:stream';
import { limits } from '../../../pure/contracts/index.ts';
import type { OutputLog } from './output-log.ts';
import { Scrollback } from './scrollback.ts';

interface Sink {
  readonly stream: Writable;
  /** Output waits for a sink that gates; one that does not is cut off when it lags too far behind. */
  readonly gates: boolean;
  readonly over: Promise<void>;
}

/** One output stream of the command, to whoever is attached, the log and the scrollback. */
export class Output {
  readonly #log: OutputLog;
  readonly #scrollback = new Scrollback(limits.scrollback.value);
  readonly #sinks = new Set<Sink>();
  readonly #full = new Set<Sink>();
  readonly ended: Promise<void>;
  #finish: () => void = () => undefined;
  #over = false;
  #source: Readable | undefined;

  constructor(log: OutputLog) {
    this.#log = log;
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

  to(stream: Writable, gates: boolean): void {
    const over = new Promise<void>((resolve) => {
      stream.once('close', resolve);
      stream.once('finish', resolve);
    });
    const sink: Sink = { stream, gates, over };
    const before = this.#scrollback.read();
    if (before.length > 0) stream.write(before);
    if (this.#over) return void stream.end();
    this.#sinks.add(sink);
    stream.once('close', () => {
      this.#sinks.delete(sink);
      this.#drained(sink);
    });
  }

  /** No more comes. Whoever is attached gets what is on its way, then the end. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const { stream } of this.#sinks) stream.end();
    this.#finish();
  }

  /** Those that gate have all of it; the others had their time. */
  async delivered(patience: Promise<unknown>): Promise<void> {
    const of = (gates: boolean): Promise<unknown> =>
      Promise.all([...this.#sinks].filter((sink) => sink.gates === gates).map((sink) => sink.over));
    await of(true);
    await Promise.race([of(false), patience]);
  }

  #take(chunk: Buffer): void {
    this.#log.write(chunk);
    this.#scrollback.push(chunk);
    for (const sink of this.#sinks) {
      if (sink.stream.write(chunk)) continue;
      if (sink.gates) this.#wait(sink);
      else if (sink.stream.writableLength > limits.attachLag.value) setImmediate(() => sink.stream.destroy());
    }
  }

  #wait(sink: Sink): void {
    if (this.#full.has(sink)) return;
    this.#full.add(sink);
    this.#source?.pause();
    sink.stream.once('drain', () => this.#drained(sink));
  }

  #drained(sink: Sink): void {
    if (this.#full.delete(sink) && this.#full.size === 0) this.#source?.resume();
  }
}
