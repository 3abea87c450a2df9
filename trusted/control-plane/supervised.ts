import { limits } from '../../pure/contracts/index.ts';

export interface SupervisedOptions<T> {
  readonly name: string;
  readonly start: () => Promise<T>;
  readonly exited: (part: T) => Promise<unknown>;
  /** After each start but the first. */
  readonly onRestart?: (part: T) => Promise<void>;
  readonly log: (message: string, error?: unknown) => void;
}

const firstWait = 100;
/** A part that ran this long was healthy: its next start does not wait for its earlier failures. */
const healthyAfter = 30_000;

/** A part that is started again when it dies, ever more slowly. While it is down, what needs it fails, and so denies. */
export class Supervised<T> {
  readonly #options: SupervisedOptions<T>;
  #current: T;
  #since = Date.now();
  #wait = firstWait;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #said = '';
  #starting: Promise<void> = Promise.resolve();

  private constructor(options: SupervisedOptions<T>, first: T) {
    this.#options = options;
    this.#current = first;
    this.#watch(first);
  }

  /** The first start must succeed: what is wrong with it is said at once. */
  static async start<T>(options: SupervisedOptions<T>): Promise<Supervised<T>> {
    return new Supervised(options, await options.start());
  }

  /** The newest one; while it is down, the one that died, which refuses by itself. */
  get current(): T {
    return this.#current;
  }

  async stop(end: (part: T) => Promise<void>): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#starting;
    await end(this.#current);
  }

  #watch(part: T): void {
    void this.#options.exited(part).then(() => {
      if (this.#stopped) return;
      this.#options.log(`${this.#options.name} ended; starting it again`);
      if (Date.now() - this.#since > healthyAfter) this.#wait = firstWait;
      this.#again();
    });
  }

  #again(): void {
    this.#timer = setTimeout(() => {
      this.#starting = this.#restart();
    }, this.#wait);
    this.#wait = Math.min(this.#wait * 2, limits.restartBackoff.value);
  }

  async #restart(): Promise<void> {
    let part: T;
    try {
      part = await this.#options.start();
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'for an unknown reason';
      // The same reason again is no news.
      if (reason !== this.#said) this.#options.log(`${this.#options.name} could not be started`, error);
      this.#said = reason;
      if (!this.#stopped) this.#again();
      return;
    }
    this.#said = '';
    this.#since = Date.now();
    this.#current = part;
    this.#watch(part);
    await this.#options.onRestart?.(part).catch((error: unknown) => {
      this.#options.log(`what depends on ${this.#options.name} was not brought back`, error);
    });
  }
}
