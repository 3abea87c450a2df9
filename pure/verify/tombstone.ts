import type { AuditRecord } from '../contracts/index.ts';
import type { ChainHead } from './chain.ts';
import { includes, rootOfHeads, tokenHash, type CheckpointPayload, type Inclusion } from './checkpoint.ts';

/**
 * Where records were taken away because their time was over (retention), what is left goes on from a signed checkpoint: the
 * tombstone holds it, with the heads of all chains as they were there (in the export of one session, with that session's place).
 * Whoever takes records away without the right to has no such checkpoint for another end than a real one, and cannot put the
 * record of the order to remove under a later one.
 */
export interface Tombstone {
  readonly token: string;
  readonly heads?: readonly ChainHead[] | undefined;
  readonly inclusion?: Inclusion | undefined;
}

export const retainOperation = 'audit.retain';

/** What the record of the order says. It is in the chain `system`, after what was removed. */
export const retainDetail = (payload: CheckpointPayload, token: string): string =>
  `records up to ${payload.stream_seq} end with checkpoint ${payload.number} ${tokenHash(token)}`;

export const isRetainRecord = (record: AuditRecord, detail: string): boolean =>
  record.operation === retainOperation &&
  record.session === 'system' &&
  record.component === 'control-plane' &&
  record.kind === 'event' &&
  record.decision === 'allow' &&
  record.detail === detail;

/** The heads to go on from; undefined where they are not those that the checkpoint was signed over. */
export function headsOfTombstone(
  tombstone: Tombstone,
  payload: CheckpointPayload,
  session: string | null,
): readonly ChainHead[] | undefined {
  const { heads, inclusion } = tombstone;
  if (session === null) {
    if (heads === undefined || inclusion !== undefined) return undefined;
    if (new Set(heads.map((head) => head.session)).size !== heads.length) return undefined;
    const counted = heads.reduce((sum, { count }) => sum + count, 0);
    const same = counted === payload.records && heads.length === payload.sessions;
    return same && rootOfHeads(heads) === payload.root ? heads : undefined;
  }
  if (heads !== undefined || inclusion?.head.session !== session) return undefined;
  return includes(payload, inclusion) ? [inclusion.head] : undefined;
}
