import { createHash } from 'node:crypto';
import type { AuditRecord } from '../contracts/index.ts';
import { canonicalJson } from '../policy/index.ts';

/** A record in its session's chain. `seq` is its place in the stream, `prev` and `hash` are SHA-256 in lower-case hex. */
export interface ChainedRecord {
  readonly seq: number;
  readonly prev: string;
  readonly hash: string;
  readonly record: AuditRecord;
}

export interface ChainHead {
  readonly session: string;
  /** Records so far. */
  readonly count: number;
  readonly hash: string;
  readonly lastSeq: number;
}

/** What comes before a chain's first record. */
export const genesis = '0'.repeat(64);

const domain = 'glovebox-audit-v1\n';

export const recordHash = (prev: string, seq: number, record: AuditRecord): string =>
  createHash('sha256')
    .update(domain)
    .update(canonicalJson([prev, seq, record]))
    .digest('hex');

export function chainRecord(head: ChainHead | undefined, seq: number, record: AuditRecord): ChainedRecord {
  const prev = head?.hash ?? genesis;
  return { seq, prev, hash: recordHash(prev, seq, record), record };
}

export const headAfter = (head: ChainHead | undefined, chained: ChainedRecord): ChainHead => ({
  session: chained.record.session,
  count: (head?.count ?? 0) + 1,
  hash: chained.hash,
  lastSeq: chained.seq,
});

/** The intents of a chain that no outcome has ended; after a session's end their outcome is unknown (R42). */
export function openIntents(records: Iterable<AuditRecord>): readonly AuditRecord[] {
  const open = new Map<string, AuditRecord>();
  for (const record of records) {
    if (record.kind === 'intent') open.set(record.id, record);
    else if (record.kind === 'outcome' && record.intent !== undefined) open.delete(record.intent);
  }
  return [...open.values()];
}
