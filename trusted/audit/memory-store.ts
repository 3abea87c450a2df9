import { GloveboxError, type AuditRecord } from '../../pure/contracts/index.ts';
import type { ChainedRecord, ChainHead } from '../../pure/verify/index.ts';
import type { AuditBatch, AuditStore, RecordQuery, StoredCheckpoint, StoredTombstone } from './store.ts';

/** For tests: the port without a database. */
export class MemoryAuditStore implements AuditStore {
  readonly #records: ChainedRecord[] = [];
  readonly #heads = new Map<string, ChainHead>();
  readonly #ids = new Map<string, AuditRecord>();
  readonly #checkpoints: StoredCheckpoint[] = [];
  #tombstone: StoredTombstone | undefined;
  #lastSeq = 0;

  append(batch: AuditBatch): Promise<void> {
    if (batch.afterSeq !== this.#lastSeq) return Promise.reject(overtaken(batch.afterSeq));
    for (const chained of batch.records) {
      this.#records.push(chained);
      this.#ids.set(`${chained.record.session}/${chained.record.id}`, chained.record);
    }
    for (const head of batch.heads) this.#heads.set(head.session, head);
    this.#lastSeq = batch.lastSeq;
    return Promise.resolve();
  }

  lastSeq(): Promise<number> {
    return Promise.resolve(this.#lastSeq);
  }

  heads(): Promise<readonly ChainHead[]> {
    return Promise.resolve([...this.#heads.values()].sort((a, b) => (a.session < b.session ? -1 : 1)));
  }

  head(session: string): Promise<ChainHead | undefined> {
    return Promise.resolve(this.#heads.get(session));
  }

  find(session: string, id: string): Promise<AuditRecord | undefined> {
    return Promise.resolve(this.#ids.get(`${session}/${id}`));
  }

  read(query: RecordQuery): Promise<readonly ChainedRecord[]> {
    const found = this.#records.filter(({ seq, record }) => {
      const own = query.session === undefined || record.session === query.session;
      return own && seq > (query.afterSeq ?? 0);
    });
    return Promise.resolve(
      query.newest === true
        ? found.slice(Math.max(0, found.length - query.limit))
        : found.slice(0, query.limit),
    );
  }

  addCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    const { stream_seq } = checkpoint.payload;
    if (stream_seq !== this.#lastSeq) return Promise.reject(overtaken(stream_seq));
    this.#checkpoints.push(checkpoint);
    return Promise.resolve();
  }

  retain(tombstone: StoredTombstone): Promise<number> {
    const { number, stream_seq } = tombstone.checkpoint.payload;
    if ((this.#tombstone?.checkpoint.payload.number ?? 0) >= number) return Promise.resolve(0);
    const kept = this.#records.filter(({ seq }) => seq > stream_seq);
    const removed = this.#records.length - kept.length;
    this.#records.splice(0, this.#records.length, ...kept);
    const after = this.#checkpoints.filter(({ payload }) => payload.number >= number);
    this.#checkpoints.splice(0, this.#checkpoints.length, ...after);
    this.#tombstone = tombstone;
    return Promise.resolve(removed);
  }

  tombstone(): Promise<StoredTombstone | undefined> {
    return Promise.resolve(this.#tombstone);
  }

  lastCheckpoint(): Promise<StoredCheckpoint | undefined> {
    return Promise.resolve(this.#checkpoints.at(-1));
  }

  checkpoints(): Promise<readonly StoredCheckpoint[]> {
    return Promise.resolve([...this.#checkpoints]);
  }
}

const overtaken = (seq: number): GloveboxError =>
  new GloveboxError('GB_STORE_CONFLICT', { detail: `the trail does not end at record ${seq}` });
