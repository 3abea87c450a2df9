import { Client, type ClientConfig } from 'pg';
import type { Lease, Replicas } from '../replicas.ts';

export const revocationChannel = 'glovebox_revoked';
const again = 250;

/**
 * One connection beside the pool holds the leases (advisory locks: the server gives them free when the connection ends, so with
 * the process at the latest) and hears of revocations. When it breaks all leases are lost at once, and it is made anew.
 */
export class PgReplicas implements Replicas {
  readonly #login: ClientConfig;
  readonly #held = new Map<string, AbortController>();
  readonly #listeners = new Set<() => void>();
  #client: Promise<Client> | undefined;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(login: ClientConfig) {
    this.#login = login;
  }

  async tryTake(name: string): Promise<Lease | undefined> {
    // The server would let the same connection have it twice.
    if (this.#held.has(name)) return undefined;
    const lost = new AbortController();
    this.#held.set(name, lost);
    let taken = false;
    try {
      const client = await this.#connected();
      const answer = await client.query<{ taken: boolean }>(
        'select pg_try_advisory_lock($1, hashtext($2)) as taken',
        [leaseClass, name],
      );
      taken = answer.rows[0]?.taken === true && !lost.signal.aborted;
    } finally {
      if (!taken) this.#held.delete(name);
    }
    return taken ? { lost: lost.signal, release: async () => await this.#release(name, lost) } : undefined;
  }

  onRevocation(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#connected().catch(() => this.#reconnectLater());
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = await this.#client?.catch(() => undefined);
    await client?.end().catch(() => undefined);
    this.#loseAll();
  }

  async #release(name: string, lost: AbortController): Promise<void> {
    if (lost.signal.aborted) return;
    const client = await this.#connected();
    await client.query('select pg_advisory_unlock($1, hashtext($2))', [leaseClass, name]);
    this.#held.delete(name);
    lost.abort();
  }

  async #connected(): Promise<Client> {
    if (this.#closed) throw new Error('the store is closed');
    return await (this.#client ??= this.#connect());
  }

  async #connect(): Promise<Client> {
    const client = new Client(this.#login);
    const gone = (): void => {
      if (this.#gone !== client) return;
      this.#client = undefined;
      this.#loseAll();
      this.#reconnectLater();
    };
    client.on('error', gone);
    client.on('end', gone);
    client.on('notification', () => this.#tell());
    try {
      await client.connect();
      await client.query(`listen ${revocationChannel}`);
    } catch (error) {
      this.#client = undefined;
      await client.end().catch(() => undefined);
      throw error;
    }
    this.#gone = client;
    return client;
  }
  #gone: Client | undefined;

  /** Whoever listens must hear of what happens next, and look at what happened meanwhile. */
  #reconnectLater(): void {
    if (this.#closed || this.#listeners.size === 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#connected().then(
        () => this.#tell(),
        () => this.#reconnectLater(),
      );
    }, again);
    this.#timer.unref();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #loseAll(): void {
    const all = [...this.#held.values()];
    this.#held.clear();
    for (const lost of all) lost.abort();
  }
}

/** Glovebox's own among the advisory locks of the database: 'GB'. */
const leaseClass = 0x4742;
/** Locks of lineages, within one transaction. */
export const lineageClass = 0x4743;
