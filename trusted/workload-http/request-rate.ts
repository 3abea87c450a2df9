import { GloveboxError } from '../../pure/contracts/index.ts';

/** So many a minute for each key, counted in fixed windows; the table never holds more than the keys of one window. */
export class RequestRate {
  readonly #name: string;
  readonly #perMinute: number;
  readonly #now: () => number;
  readonly #counts = new Map<string, number>();
  #window = 0;

  constructor(name: string, perMinute: number, now: () => number) {
    this.#name = name;
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /** GB_LIMIT_REACHED when the key has had its share of this minute. */
  count(key: string): void {
    const window = Math.floor(this.#now() / 60_000);
    if (window !== this.#window) {
      this.#window = window;
      this.#counts.clear();
    }
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    if (count > this.#perMinute) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: this.#name,
        detail: `more than ${this.#perMinute} requests in one minute`,
      });
    }
  }
}
