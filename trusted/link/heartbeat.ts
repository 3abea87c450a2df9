/** Calls back about once a second until it is stopped; a test moves it by hand. */
export type Ticker = (tick: () => void) => () => void;

export const everySecond: Ticker = (tick) => {
  const timer = setInterval(tick, 1000);
  return () => clearInterval(timer);
};

/**
 * Counts ticks, not time: where this process itself was held up, its ticks were too, and what init said meanwhile is read
 * before the next one. An agent can stop or kill init, which has its uid.
 */
export class Heartbeat {
  readonly #stop: () => void;
  #missed = 0;
  #allowed: number;

  constructor(ticker: Ticker, allowed: number, missed: () => void) {
    this.#allowed = allowed;
    this.#stop = ticker(() => {
      this.#missed += 1;
      if (this.#missed <= this.#allowed) return;
      this.#stop();
      missed();
    });
  }

  heard(allowed: number): void {
    this.#missed = 0;
    this.#allowed = allowed;
  }

  stop(): void {
    this.#stop();
  }
}
