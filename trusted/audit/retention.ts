import { GloveboxError } from '../../pure/contracts/index.ts';
import { headAfter, retainDetail, rootOfHeads, type ChainHead } from '../../pure/verify/index.ts';
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
    heads.set(chained.record.session, headAfter(heads.get(chained.record.session), chained));
  }
  const all = [...heads.values()];
  if (rootOfHeads(all) === payload.root) return all;
  const detail = `the records up to ${payload.stream_seq} are not those of checkpoint ${payload.number}`;
  throw new GloveboxError('GB_AUDIT_TAMPERED', { detail });
}
