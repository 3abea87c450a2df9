import type { AuditRecord } from '../../pure/contracts/index.ts';
import type { ChainedRecord, ChainHead, CheckpointPayload } from '../../pure/verify/index.ts';

export interface AuditBatch {
  /** Where the store has to be for this batch to follow. */
  readonly afterSeq: number;
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

/** What is left of records that were taken away: the checkpoint that they ended with, and the heads that it was signed over. */
export interface StoredTombstone {
  readonly checkpoint: StoredCheckpoint;
  readonly heads: readonly ChainHead[];
}

export interface RecordQuery {
  readonly session?: string;
  readonly afterSeq?: number;
  readonly limit: number;
  /** The last of them; still in the order of the trail. */
  readonly newest?: boolean;
}

/**
 * Where the audit trail is kept. One writer at a time; readers at any time. A writer that was overtaken gets GB_STORE_CONFLICT from
 * `append` and `addCheckpoint`, and nothing is written.
 */
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
  /** Takes away what the tombstone's checkpoint covers, and puts it there, in one step. The answer: how many records. */
  retain(tombstone: StoredTombstone): Promise<number>;
  tombstone(): Promise<StoredTombstone | undefined>;
  lastCheckpoint(): Promise<StoredCheckpoint | undefined>;
  /** Ascending by number. */
  checkpoints(): Promise<readonly StoredCheckpoint[]>;
}
