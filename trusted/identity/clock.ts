/** Time, passed in, so that tests move it instead of waiting. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Runs once after so many milliseconds; the answer takes it back. */
  schedule(afterMs: number, run: () => void): () => void;
}

/** Timers of this clock do not keep a process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  schedule: (afterMs, run) => {
    const timer = setTimeout(run, Math.min(Math.max(afterMs, 0), 2 ** 31 - 1));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
