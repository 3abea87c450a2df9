import { limits } from '../../../pure/contracts/index.ts';
import type { Clock } from '../ports.ts';

/** Whether the host's clock was set back: told by a clock that nobody sets. Small steps are its ordinary correction. */
export class ClockWatch {
  readonly #clock: Clock;
  readonly #steady: () => number;
  #highest: number;
  #setBack = 0;

  constructor(clock: Clock, steady: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#steady = steady;
    this.#highest = this.#offset();
  }

  /** Looks now and then, until the returned function is called. */
  watch(): () => void {
    const timer = setInterval(() => this.setBackMs(), limits.clockWatch.value);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** By how much, at the most, since this was made. */
  setBackMs(): number {
    const offset = this.#offset();
    this.#highest = Math.max(this.#highest, offset);
    this.#setBack = Math.max(this.#setBack, this.#highest - offset);
    return this.#setBack < tolerated ? 0 : Math.ceil(this.#setBack) + tolerated;
  }

  #offset(): number {
    return this.#clock.now() - this.#steady();
  }
}

const tolerated = 50;
