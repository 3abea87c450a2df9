/** Splits newline-delimited text into lines of at most `limit` bytes; a longer one is told as soon as it is. */
export class Lines {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `chunk` completes, without their newlines, or `too-long`. */
  push(chunk: Buffer): readonly string[] | 'too-long' {
    const lines: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      if (!this.#take(chunk.subarray(from, at))) return 'too-long';
      lines.push(Buffer.concat(this.#parts).toString('utf8'));
      this.#parts = [];
      this.#length = 0;
      from = at + 1;
    }
    return this.#take(chunk.subarray(from)) ? lines : 'too-long';
  }

  #take(part: Buffer): boolean {
    if (this.#length + part.length > this.#limit) return false;
    if (part.length > 0) this.#parts.push(part);
    this.#length += part.length;
    return true;
  }
}
