/** The last `limit` bytes that were pushed. */
export class Scrollback {
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length > this.#limit) {
      const [first] = this.#chunks;
      if (first === undefined) return;
      const excess = this.#length - this.#limit;
      if (first.length <= excess) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(excess);
      this.#length -= Math.min(excess, first.length);
    }
  }

  read(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}
