import type { AuditRecord } from '../../pure/contracts/index.ts';
import type { ChainedRecord, ChainHead } from '../../pure/verify/index.ts';
import type { AuditBatch, AuditStore, RecordQuery, StoredCheckpoint } from './store.ts';

/** For tests: the port without a database. */
export class MemoryAuditStore implements AuditStore {
  readonly #records: ChainedRecord[] = [];
  readonly #heads = new Map<string, ChainHead>();
  readonly #ids = new Map<string, AuditRecord>();
  readonly #checkpoints: StoredCheckpoint[] = [];
  #lastSeq = 0;

  append(batch: AuditBatch): Promise<void> {
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
    this.#checkpoints.push(checkpoint);
    return Promise.resolve();
  }

  checkpoints(): Promise<readonly StoredCheckpoint[]> {
    return Promise.resolve([...this.#checkpoints]);
  }
}
