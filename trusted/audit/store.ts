import type { AuditRecord } from '../../pure/contracts/index.ts';
import type { ChainedRecord, ChainHead, CheckpointPayload } from '../../pure/verify/index.ts';

export interface AuditBatch {
  /** In stream order. */
  readonly records: readonly ChainedRecord[];
  /** The heads after them, of each chain that grew. */
  readonly heads: readonly ChainHead[];
  /** Everything of the stream up to here is dealt with. */
  readonly lastSeq: number;
}

export interface StoredCheckpoint {
  readonly payload: CheckpointPayload;
  readonly token: string;
}

export interface RecordQuery {
  readonly session?: string;
  readonly afterSeq?: number;
  readonly limit: number;
  /** The last of them; still in the order of the trail. */
  readonly newest?: boolean;
}

/** Where the audit trail is kept. One writer; readers at any time. */
export interface AuditStore {
  /** All of it or nothing: a crash between two calls repeats no record and loses none. */
  append(batch: AuditBatch): Promise<void>;
  lastSeq(): Promise<number>;
  /** Sorted by session. */
  heads(): Promise<readonly ChainHead[]>;
  head(session: string): Promise<ChainHead | undefined>;
  find(session: string, id: string): Promise<AuditRecord | undefined>;
  /** Ascending by seq. */
  read(query: RecordQuery): Promise<readonly ChainedRecord[]>;
  addCheckpoint(checkpoint: StoredCheckpoint): Promise<void>;
  /** Ascending by number. */
  checkpoints(): Promise<readonly StoredCheckpoint[]>;
}
