/** Holds an agent's output back while a question stands on the screen (R47); the session waits, since it is not read. */
export class OutputGate {
  #open: Promise<void> | undefined;
  #release: () => void = () => undefined;

  close(): void {
    if (this.#open !== undefined) return;
    this.#open = new Promise((resolve) => (this.#release = resolve));
  }

  open(): void {
    this.#open = undefined;
    this.#release();
  }

  async passed(): Promise<void> {
    while (this.#open !== undefined) await this.#open;
  }
}
