import { writeSync } from 'node:fs';
import { limits } from '../../../pure/contracts/index.ts';

const note = '\n[glovebox: the log is full; the output itself goes on]\n';

/** What `glovebox logs` shows, on an inherited descriptor. Written at once: only so many bytes ever are. */
export class OutputLog {
  readonly #fd: number | null;
  readonly #onError: (error: unknown) => void;
  #left: number = limits.outputLog.value;
  #failed = false;

  constructor(fd: number | null, onError: (error: unknown) => void) {
    this.#fd = fd;
    this.#onError = onError;
  }

  write(chunk: Buffer): void {
    if (this.#fd === null || this.#left <= 0 || this.#failed) return;
    const fits = chunk.subarray(0, this.#left);
    this.#left -= fits.length;
    try {
      this.#put(this.#fd, fits);
      if (this.#left === 0) this.#put(this.#fd, Buffer.from(note));
    } catch (error) {
      // A full disk of the host's ends the log, not the session.
      this.#failed = true;
      this.#onError(error);
    }
  }

  #put(fd: number, bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
  }
}
