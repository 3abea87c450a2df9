import type { ReadStream } from 'node:tty';

export interface InputClaim {
  /** What arrives from now on is for the one who claimed before. */
  release(): void;
  pause(): void;
  resume(): void;
}

export interface InputSource {
  /** From now on what is typed goes to `take`, and to nobody else, until it is released. */
  claim(take: (chunk: Buffer) => void, raw: boolean): InputClaim;
}

interface Claim {
  readonly take: (chunk: Buffer) => void;
  readonly raw: boolean;
  paused: boolean;
}

/** What a person types, for one reader at a time: the session, or a question that stands before it. */
export class TerminalInput implements InputSource {
  readonly #stdin: ReadStream;
  readonly #claims: Claim[] = [];
  #raw = false;

  constructor(stdin: ReadStream, onEnd: () => void) {
    this.#stdin = stdin;
    stdin.on('data', (chunk: Buffer) => this.#claims.at(-1)?.take(chunk));
    stdin.on('end', onEnd);
    // A terminal that went away (EIO) is at its end.
    stdin.on('error', onEnd);
    stdin.pause();
  }

  claim(take: (chunk: Buffer) => void, raw: boolean): InputClaim {
    const claim: Claim = { take, raw, paused: false };
    this.#claims.push(claim);
    this.#apply();
    const set = (paused: boolean): void => {
      claim.paused = paused;
      this.#apply();
    };
    return {
      release: () => {
        const index = this.#claims.indexOf(claim);
        if (index >= 0) this.#claims.splice(index, 1);
        this.#apply();
      },
      pause: () => set(true),
      resume: () => set(false),
    };
  }

  /** Cooked mode, whoever holds the input: for the end of the program. */
  restore(): void {
    this.#claims.length = 0;
    this.#apply();
  }

  #apply(): void {
    const top = this.#claims.at(-1);
    const raw = top?.raw ?? false;
    if (raw !== this.#raw && !this.#stdin.destroyed) {
      this.#raw = raw;
      this.#stdin.setRawMode(raw);
    }
    if (top === undefined || top.paused) this.#stdin.pause();
    else this.#stdin.resume();
  }
}
