import type { Readable, Writable } from 'node:stream';

/**
 * Input of the command. A terminal takes what all attached type; a pipe takes one attachment at a time, in the order in
 * which they came, up to the first end of input.
 */
export class Input {
  readonly #shared: boolean;
  readonly #sources: Readable[] = [];
  readonly #running = new Set<Readable>();
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

  from(source: Readable): void {
    if (this.#over) return void source.resume();
    this.#sources.push(source);
    source.once('close', () => {
      remove(this.#sources, source);
      this.#running.delete(source);
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
      this.#running.add(source);
      this.#pump(source, target);
    }
  }

  #pump(source: Readable, target: Writable): void {
    source.on('data', (chunk: Buffer) => {
      if (this.#over || target.write(chunk)) return;
      source.pause();
      target.once('drain', () => source.resume());
    });
    source.once('end', () => {
      if (!this.#shared) this.close();
    });
  }
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index !== -1) list.splice(index, 1);
}
