/** Runs work in the order of its arrival, one piece at a time. */
export class Queue {
  #tail: Promise<unknown> = Promise.resolve();

  async run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    // The next one waits for the end of this, however it ends; its error belongs to its own caller.
    this.#tail = result.catch(() => undefined);
    return await result;
  }
}

/** Runs the work of one key in the order of its arrival; different keys do not wait for each other. */
export class KeyedQueue<K> {
  readonly #tails = new Map<K, Promise<void>>();

  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(work);
    // The next one waits for the end of this, however it ends; its error belongs to its own caller.
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
