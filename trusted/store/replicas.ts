/** Held by one replica at a time. It goes with its holder, however that ends, so there is never a stale one to judge. */
export interface Lease {
  /** Aborted when it is no longer held, by release or because the connection that held it is gone. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * What replicas of the control plane on one store need of each other. Nobody leads: a lease only keeps two of them from doing the
 * same work twice. That nothing comes of it when two do so all the same is for the statements to see to.
 */
export interface Replicas {
  /** Undefined: somebody has it. */
  tryTake(name: string): Promise<Lease | undefined>;
  /** Told that some identity was revoked by another replica, or may have been while nobody could say so [R4]. */
  onRevocation(listener: () => void): () => void;
}

/** Where one process has the store to itself (the state folder's lock). */
export class SoleReplica implements Replicas {
  readonly #held = new Set<string>();

  tryTake(name: string): Promise<Lease | undefined> {
    if (this.#held.has(name)) return Promise.resolve(undefined);
    this.#held.add(name);
    const lost = new AbortController();
    return Promise.resolve({
      lost: lost.signal,
      release: () => {
        if (!lost.signal.aborted) this.#held.delete(name);
        lost.abort();
        return Promise.resolve();
      },
    });
  }

  onRevocation(): () => void {
    return () => undefined;
  }
}

/** That of the control plane whose id this is. While it lives it holds the lease, so who can take it may end what it left. */
export const replicaLease = (replica: string): string => `replica/${replica}`;
export const auditWriterLease = 'audit-writer';
