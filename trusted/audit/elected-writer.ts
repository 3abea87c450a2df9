import { setTimeout as delay } from 'node:timers/promises';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import type { StoredCheckpoint } from './store.ts';
import { AuditWriter, type AuditWriterOptions } from './writer.ts';

/** Held by one replica at a time; `lost` is aborted when it is not held any more. */
export interface WriterLease {
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export interface ElectedWriterOptions extends AuditWriterOptions {
  /** Undefined: another replica writes. */
  readonly takeLease: () => Promise<WriterLease | undefined>;
  readonly retryMs?: number;
}

/**
 * The audit writer of one replica: it writes while it holds the lease, and tries for it while another does. Two that both believe to
 * hold it (a lost connection, a process that stood still) do no harm: the store refuses the one that was overtaken.
 */
export class ElectedAuditWriter {
  readonly #options: ElectedWriterOptions;
  readonly #stopping = new AbortController();
  #active: { readonly writer: AuditWriter; readonly lost: AbortSignal } | undefined;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: ElectedWriterOptions) {
    this.#options = options;
  }

  /** Fails where the lease is to be had and the writer cannot start with it. */
  static async start(options: ElectedWriterOptions): Promise<ElectedAuditWriter> {
    const elected = new ElectedAuditWriter(options);
    const lease = await options.takeLease();
    const first = lease === undefined ? undefined : await elected.#open(lease);
    elected.#running = elected.#run(first);
    return elected;
  }

  get writes(): boolean {
    return this.#active !== undefined;
  }

  /** Resolves when the record of that place in the stream is in the store, whoever writes. */
  async caughtUp(sequence: number): Promise<void> {
    while (!this.#stopped()) {
      const active = this.#active;
      if (active !== undefined) await Promise.race([active.writer.caughtUp(sequence), aborted(active.lost)]);
      const there = await this.#options.store.lastSeq().catch((error: unknown) => {
        this.#options.onError(error);
        return -1;
      });
      if (there >= sequence) return;
      await this.#pause();
    }
    throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'the audit writer ends' });
  }

  async checkpoint(): Promise<StoredCheckpoint | undefined> {
    return await this.#active?.writer.checkpoint();
  }

  /** While `work` runs all that is stored is under the last checkpoint; only the replica that writes can see to that. */
  async covered<T>(work: () => Promise<T>): Promise<T> {
    if (this.#active === undefined)
      throw new GloveboxError('GB_STORE_CONFLICT', {
        detail: 'another replica writes the trail: ask that one',
      });
    return await this.#active.writer.covered(work);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(first: WriterLease | undefined): Promise<void> {
    let lease = first;
    while (!this.#stopped()) {
      try {
        lease ??= await this.#take();
        if (lease === undefined) {
          await this.#pause();
          continue;
        }
        await Promise.race([aborted(lease.lost), aborted(this.#stopping.signal)]);
      } catch (error) {
        this.#options.onError(error);
        await this.#pause();
      }
      if (lease !== undefined) await this.#close(lease).catch(this.#options.onError);
      lease = undefined;
    }
    if (lease !== undefined) await this.#close(lease).catch(this.#options.onError);
  }

  async #take(): Promise<WriterLease | undefined> {
    const lease = await this.#options.takeLease();
    return lease === undefined ? undefined : await this.#open(lease);
  }

  async #open(lease: WriterLease): Promise<WriterLease> {
    try {
      this.#active = { writer: await AuditWriter.start(this.#options), lost: lease.lost };
      return lease;
    } catch (error) {
      await lease.release();
      throw error;
    }
  }

  async #close(lease: WriterLease): Promise<void> {
    const active = this.#active;
    this.#active = undefined;
    await active?.writer.stop();
    await lease.release();
  }

  #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #pause(): Promise<void> {
    const wait = this.#options.retryMs ?? limits.storeLeaseRetry.value;
    await delay(wait, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
  }
}

const aborted = async (signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
};
