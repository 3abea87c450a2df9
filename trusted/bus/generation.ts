import { setImmediate as nextTurn } from 'node:timers/promises';
import { PermissionViolationError, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { limits } from '../../pure/contracts/index.ts';
import { Replies } from './replies.ts';

type Operation = 'publish' | 'subscription';

/** One NATS connection with one certificate, and what still runs on it. */
export class Generation {
  readonly nc: NatsConnection;
  readonly replies: Replies;
  readonly #running = new Set<Promise<unknown>>();
  readonly #watchers = new Set<(violation: PermissionViolationError) => void>();

  constructor(nc: NatsConnection, onUnasked: (subject: string) => void) {
    this.nc = nc;
    this.replies = new Replies(this, onUnasked);
    void this.#readStatus();
  }

  track<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
    return work;
  }

  /** Told of each refusal of the server; returns how to stop. */
  watch(watcher: (violation: PermissionViolationError) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Does what NATS answers only when it refuses, and waits for that: the server writes the refusal before the PONG that
   * ends the flush.
   */
  async checked(operation: Operation, subject: string, act: () => void): Promise<void> {
    let violation: PermissionViolationError | undefined;
    const stop = this.watch((found) => {
      if (found.operation === operation && found.subject === subject) violation = found;
    });
    try {
      act();
      await this.nc.flush();
      await nextTurn();
      if (violation !== undefined) throw violation;
    } finally {
      stop();
    }
  }

  /** Unsubscribes, waits for what runs (with a bound), closes. */
  async retire(subscriptions: readonly Subscription[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, limits.busDrain.value);
      timer.unref();
    });
    await Promise.race([this.#finish(subscriptions), late]);
    clearTimeout(timer);
    await this.nc.close();
  }

  async #finish(subscriptions: readonly Subscription[]): Promise<void> {
    await Promise.allSettled(
      subscriptions
        .filter((subscription) => !subscription.isClosed())
        .map((subscription) => subscription.drain()),
    );
    while (this.#running.size > 0) await Promise.all(this.#running);
    // A closed connection has nothing left to flush.
    await this.nc.flush().catch(() => undefined);
  }

  async #readStatus(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'error' && status.error instanceof PermissionViolationError) {
        for (const watcher of [...this.#watchers]) watcher(status.error);
      }
    }
  }
}
