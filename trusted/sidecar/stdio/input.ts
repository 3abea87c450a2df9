import type { Readable, Writable } from 'node:stream';
import { limits } from '../../../pure/contracts/index.ts';
import type { InputGate } from './input-gate.ts';

/**
 * Input of the command. A terminal takes what all attached type; a pipe takes one attachment at a time, in the order in
 * which they came, up to the first end of input.
 */
export class Input {
  readonly #shared: boolean;
  readonly #sources: Readable[] = [];
  readonly #running = new Set<Readable>();
  readonly #gates = new Map<Readable, InputGate>();
  /** Ended with nothing in them: Node says so at once, maybe before anybody may read them. */
  readonly #empty = new Set<Readable>();
  #target: Writable | undefined;
  #over = false;

  constructor(kind: 'terminal' | 'pipe') {
    this.#shared = kind === 'terminal';
  }

  into(target: Writable): void {
    this.#target = target;
    target.once('close', () => this.close());
    if (this.#over) target.end();
    else this.#next();
  }

  /** `gate`: what holds it until it is its person's turn. */
  from(source: Readable, gate?: InputGate): void {
    if (this.#over) return void source.resume();
    this.#sources.push(source);
    if (gate !== undefined) this.#gates.set(source, gate);
    source.once('end', () => {
      if (!this.#running.has(source)) this.#empty.add(source);
      else if (!this.#shared) this.close();
    });
    source.once('close', () => {
      // Its turn is still to come, and is the command's end of input.
      if (this.#empty.has(source) && !this.#shared) return;
      remove(this.#sources, source);
      this.#running.delete(source);
      this.#gates.delete(source);
      this.#next();
    });
    this.#next();
  }

  /** End of input, or nobody reads it any more: what still comes is read and dropped. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#target?.end();
    for (const source of this.#sources) {
      source.removeAllListeners('data');
      source.resume();
    }
  }

  #next(): void {
    const target = this.#target;
    if (target === undefined || this.#over) return;
    for (const source of this.#sources) {
      if (this.#running.has(source)) continue;
      if (!this.#shared && this.#running.size > 0) return;
      if (this.#empty.has(source) && !this.#shared) return this.close();
      this.#running.add(source);
      this.#pump(source, target);
    }
  }

  #pump(source: Readable, target: Writable): void {
    const gate = this.#gates.get(source);
    const admit = (chunk: Buffer): void => {
      if (this.#over) return;
      if (gate !== undefined && !gate.open()) {
        source.pause();
        gate.ask().then(
          () => admit(chunk),
          () => source.destroy(),
        );
        return;
      }
      target.write(chunk);
      if (target.writableLength <= limits.stdioAhead.value) return void source.resume();
      source.pause();
      target.once('drain', () => source.resume());
    };
    source.on('data', admit);
  }
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index !== -1) list.splice(index, 1);
}
