import { setTimeout as delay } from 'node:timers/promises';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { genesis, rootOfHeads, tokenHash, type CheckpointPayload } from '../../pure/verify/index.ts';
import {
  ensureAuditStream,
  readStream,
  trimStream,
  type BusConnection,
  type StreamRecord,
} from '../bus/index.ts';
import { buildBatch, type SecurityEvent } from './chain-builder.ts';
import type { AuditStore, StoredCheckpoint } from './store.ts';

export interface AuditWriterOptions {
  readonly bus: BusConnection;
  readonly store: AuditStore;
  /** The signer's, typ glovebox-checkpoint+jws. */
  readonly signCheckpoint: (payload: CheckpointPayload) => Promise<string>;
  readonly now: () => Date;
  /** Sent to the witness, where there is one. */
  readonly onCheckpoint?: (checkpoint: StoredCheckpoint) => void;
  readonly onSecurityEvent?: (event: SecurityEvent) => void;
  readonly onError: (error: unknown) => void;
  readonly checkpointRecords?: number;
  readonly checkpointMs?: number;
}

interface Waiter {
  readonly sequence: number;
  resolve(): void;
}

const retry = { first: 200, longest: 5_000 };

/**
 * The one writer of the audit trail (one at a time over all replicas of the control plane: whoever holds the store's lock).
 * It remembers how far it got in the store itself, together with the records, so a crash at any line repeats and loses
 * nothing (R42).
 */
export class AuditWriter {
  readonly #options: AuditWriterOptions;
  readonly #stopping = new AbortController();
  readonly #waiting = new Set<Waiter>();
  #queue: StreamRecord[] = [];
  #wake: () => void = () => undefined;
  #hurry: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();
  /** Appending, checkpoints and exports take turns. */
  #turn: Promise<unknown> = Promise.resolve();
  #sinceCheckpoint = 0;
  #sinceTrim = 0;
  #lastSeq = 0;
  /** How often in a row, until something succeeds. */
  readonly #failures = new Map<'read' | 'write', number>();
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: AuditWriterOptions) {
    this.#options = options;
  }

  static async start(options: AuditWriterOptions): Promise<AuditWriter> {
    const writer = new AuditWriter(options);
    writer.#lastSeq = await options.store.lastSeq();
    const streamSeq = await ensureAuditStream(options.bus, writer.#lastSeq);
    if (streamSeq < writer.#lastSeq) {
      // Its numbers would be taken for records that the store has.
      const detail = `the stream ends at ${streamSeq}, the store has ${writer.#lastSeq}: one of them was replaced`;
      throw new GloveboxError('GB_AUDIT_TAMPERED', { detail });
    }
    const period = options.checkpointMs ?? limits.auditCheckpointTime.value;
    writer.#timer = setInterval(() => {
      void writer.checkpoint().catch(options.onError);
    }, period);
    writer.#timer.unref();
    writer.#running = Promise.all([writer.#readAll(), writer.#writeAll()]).then(() => undefined);
    return writer;
  }

  /** Resolves when the record of that place in the stream is in the store. */
  caughtUp(sequence: number): Promise<void> {
    if (sequence <= this.#lastSeq) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.add({ sequence, resolve });
      this.#hurry();
    });
  }

  /** Signs what there is, unless the last checkpoint covers it. */
  checkpoint(): Promise<StoredCheckpoint | undefined> {
    return this.exclusively(() => this.#checkpoint());
  }

  /** While `work` runs all that is stored is under the last checkpoint. */
  covered<T>(work: () => Promise<T>): Promise<T> {
    return this.exclusively(async () => {
      await this.#checkpoint();
      return await work();
    });
  }

  /** While `work` runs no record is appended, so heads and checkpoints agree. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(work);
    this.#turn = next.catch(() => undefined);
    return next;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    this.#wake();
    this.#hurry();
    await this.#running;
    await this.#turn;
  }

  #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #readAll(): Promise<void> {
    const { bus } = this.#options;
    while (!this.#stopped()) {
      const from = (this.#queue.at(-1)?.sequence ?? this.#lastSeq) + 1;
      try {
        await readStream(bus, from, (record) => this.#take(record), this.#stopping.signal);
      } catch (error) {
        if (this.#stopped()) return;
        await this.#failed('read', error);
      }
    }
  }

  #take(record: StreamRecord): void {
    this.#failures.delete('read');
    this.#queue.push(record);
    this.#wake();
  }

  async #writeAll(): Promise<void> {
    while (!this.#stopped()) {
      if (this.#queue.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          if (this.#stopped() || this.#queue.length > 0) resolve();
        });
        continue;
      }
      await this.#gather();
      const messages = this.#queue.slice();
      try {
        await this.exclusively(() => this.#write(messages));
        this.#queue = this.#queue.slice(messages.length);
        this.#failures.delete('write');
      } catch (error) {
        // The store is down: the queue stays, the stream keeps what comes, and is full one day (then nothing happens).
        await this.#failed('write', error);
      }
    }
  }

  /**
   * The stream has them safe already: what comes within a moment is written as one, which costs the disk and the processors once.
   * Whoever waits for a record ends the moment.
   */
  async #gather(): Promise<void> {
    if (this.#waiting.size > 0 || this.#stopped()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limits.auditGather.value);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = () => undefined;
  }

  async #write(messages: readonly StreamRecord[]): Promise<void> {
    const { store, onSecurityEvent } = this.#options;
    const batch = await buildBatch(store, messages);
    if (batch === undefined) return;
    await store.append(batch);
    this.#lastSeq = batch.lastSeq;
    for (const event of batch.securityEvents) onSecurityEvent?.(event);
    for (const waiter of [...this.#waiting]) {
      if (waiter.sequence > batch.lastSeq) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
    this.#sinceCheckpoint += batch.records.length;
    if (this.#sinceCheckpoint >= (this.#options.checkpointRecords ?? limits.auditCheckpointRecords.value)) {
      await this.#checkpoint().catch(this.#options.onError);
    }
    await this.#trim(messages.length);
  }

  async #checkpoint(): Promise<StoredCheckpoint | undefined> {
    const { store, signCheckpoint, now, onCheckpoint } = this.#options;
    // First: if another writer goes on after this, the store refuses what is signed here.
    const streamSeq = await store.lastSeq();
    const before = await store.lastCheckpoint();
    const heads = await store.heads();
    const root = rootOfHeads(heads);
    if (heads.length === 0 || before?.payload.root === root) return undefined;
    const payload: CheckpointPayload = {
      version: 1,
      number: (before?.payload.number ?? 0) + 1,
      time: now().toISOString(),
      stream_seq: streamSeq,
      sessions: heads.length,
      records: heads.reduce((sum, head) => sum + head.count, 0),
      root,
      previous: before === undefined ? genesis : tokenHash(before.token),
    };
    const checkpoint = { payload, token: await signCheckpoint(payload) };
    await store.addCheckpoint(checkpoint);
    this.#sinceCheckpoint = 0;
    onCheckpoint?.(checkpoint);
    return checkpoint;
  }

  /** Only what is in the store leaves the stream, and late enough for the secret broker to find an intent there. */
  async #trim(count: number): Promise<void> {
    const keep = limits.auditStreamKeep.value;
    this.#sinceTrim += count;
    if (this.#sinceTrim < keep || this.#lastSeq <= keep) return;
    this.#sinceTrim = 0;
    await trimStream(this.#options.bus, this.#lastSeq - keep).catch(this.#options.onError);
  }

  /** Said once, until it works again; tried ever more slowly. */
  async #failed(doing: 'read' | 'write', error: unknown): Promise<void> {
    const before = this.#failures.get(doing) ?? 0;
    this.#failures.set(doing, before + 1);
    if (before === 0) this.#options.onError(error);
    const wait = Math.min(retry.first * 2 ** before, retry.longest);
    await delay(wait, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
