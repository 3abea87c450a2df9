import type { Readable, Transform } from 'node:stream';

/** The agent's body on its way out. What a guard finds ends the request upstream, and leaves the agent to hear why. */
export class OutgoingBody {
  readonly stream: Readable;
  blocked: Error | null = null;
  #stop: (() => void) | null = null;

  constructor(body: Readable, guards: readonly Transform[]) {
    let last = body;
    for (const guard of guards) {
      const before = last;
      guard.on('error', (error) => {
        this.blocked ??= error;
        before.unpipe(guard);
        body.resume();
        this.#stop?.();
      });
      last = before.pipe(guard);
    }
    this.stream = last;
  }

  onBlocked(stop: () => void): void {
    this.#stop = stop;
    if (this.blocked !== null) stop();
  }
}
