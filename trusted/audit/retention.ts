import { GloveboxError } from '../../pure/contracts/index.ts';
import {
  chainRecord,
  headAfter,
  retainDetail,
  rootOfHeads,
  type ChainHead,
  type CheckpointPayload,
} from '../../pure/verify/index.ts';
import { readAll, type ExportTurn } from './export.ts';
import type { AuditStore, StoredCheckpoint } from './store.ts';

export interface Retained {
  /** Records that were taken away. */
  readonly removed: number;
  /** The checkpoint that they ended with; 0: none is that old. */
  readonly checkpoint: number;
}

export interface RetentionOptions {
  readonly writer: ExportTurn;
  readonly store: AuditStore;
  /** Writes the order down and resolves when it is in the store. */
  readonly record: (detail: string) => Promise<void>;
}

/**
 * Takes the records away that the newest checkpoint before `before` covers, and leaves its tombstone. The order is in the trail
 * first; a crash after it leaves records that the next order takes.
 */
export async function retainAudit(options: RetentionOptions, before: Date): Promise<Retained> {
  const { store, writer, record } = options;
  const last = await store.tombstone();
  const checkpoint = (await store.checkpoints()).findLast(
    ({ payload }) =>
      Date.parse(payload.time) < before.getTime() && payload.number > (last?.checkpoint.payload.number ?? 0),
  );
  if (checkpoint === undefined) return { removed: 0, checkpoint: 0 };
  const heads = await headsAt(store, checkpoint);
  await record(retainDetail(checkpoint.payload, checkpoint.token));
  const removed = await writer.covered(async () => await store.retain({ checkpoint, heads }));
  return { removed, checkpoint: checkpoint.payload.number };
}

/** As they were signed, or nothing is taken away: what does not verify now never would. */
async function headsAt(store: AuditStore, { payload }: StoredCheckpoint): Promise<readonly ChainHead[]> {
  const heads = new Map((await store.tombstone())?.heads.map((head) => [head.session, head]));
  for await (const chained of readAll(store)) {
    if (chained.seq > payload.stream_seq) break;
    const before = heads.get(chained.record.session);
    const again = chainRecord(before, chained.seq, chained.record);
    if (again.hash !== chained.hash || again.prev !== chained.prev) throw tampered(payload);
    heads.set(chained.record.session, headAfter(before, again));
  }
  const all = [...heads.values()];
  if (rootOfHeads(all) !== payload.root) throw tampered(payload);
  return all;
}

const tampered = ({ stream_seq, number }: CheckpointPayload): GloveboxError =>
  new GloveboxError('GB_AUDIT_TAMPERED', {
    detail: `the records up to ${stream_seq} are not those of checkpoint ${number}`,
  });
