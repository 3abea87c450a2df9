import { GloveboxError, limits, type AuditRecord } from '../../pure/contracts/index.ts';
import { inclusionOf, openIntents, type ChainedRecord, type ExportLine } from '../../pure/verify/index.ts';
import type { AuditStore, RecordQuery, StoredCheckpoint } from './store.ts';
import type { AuditWriter } from './writer.ts';

/** What an export needs of the writer. */
export type ExportTurn = Pick<AuditWriter, 'covered'>;

/** Records as they are shown to a person or a program; at most `auditQuery`, then ask again after the last. */
export function query(
  store: AuditStore,
  wanted: Omit<RecordQuery, 'limit'> & { readonly limit?: number },
): Promise<readonly ChainedRecord[]> {
  const limit = Math.min(wanted.limit ?? limits.auditQuery.value, limits.auditQuery.value);
  return store.read({ ...wanted, limit });
}

/** Whose outcome is not known: written down as `unknown` at a session's end and after a crash, never repeated (R42). */
export async function openIntentsOf(store: AuditStore, session: string): Promise<readonly AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const { record } of readAll(store, session)) records.push(record);
  return openIntents(records);
}

/**
 * The lines of an export, of all sessions or one, for `glovebox audit verify`. A fresh checkpoint comes first, so that all
 * that is exported is covered.
 */
export async function exportAudit(
  writer: ExportTurn,
  store: AuditStore,
  session?: string,
): Promise<readonly string[]> {
  return writer.covered(async () => {
    const lines: ExportLine[] = [{ type: 'glovebox-audit', version: 1, session: session ?? null }];
    const checkpoints = await store.checkpoints();
    if (session === undefined) await exportWhole(store, checkpoints, lines);
    else await exportSession(store, checkpoints, session, lines);
    return lines.map((line) => JSON.stringify(line));
  });
}

async function exportWhole(
  store: AuditStore,
  checkpoints: readonly StoredCheckpoint[],
  lines: ExportLine[],
): Promise<void> {
  const tombstone = await store.tombstone();
  const removed = tombstone?.checkpoint.payload.number ?? 0;
  if (tombstone !== undefined)
    lines.push({ type: 'tombstone', token: tombstone.checkpoint.token, heads: [...tombstone.heads] });
  let next = checkpoints.findIndex(({ payload }) => payload.number > removed);
  if (next < 0) next = checkpoints.length;
  const upTo = (seq: number): void => {
    for (; (checkpoints[next]?.payload.stream_seq ?? Infinity) < seq; next += 1) {
      lines.push({ type: 'checkpoint', token: checkpoints[next]?.token ?? '' });
    }
  };
  for await (const chained of readAll(store)) {
    upTo(chained.seq);
    lines.push(lineOf(chained));
  }
  upTo(Infinity);
}

async function exportSession(
  store: AuditStore,
  checkpoints: readonly StoredCheckpoint[],
  session: string,
  lines: ExportLine[],
): Promise<void> {
  const tombstone = await store.tombstone();
  const before = tombstone === undefined ? undefined : inclusionOf(session, tombstone.heads);
  if (tombstone !== undefined && before !== undefined) {
    const { token } = tombstone.checkpoint;
    lines.push({ type: 'tombstone', token, inclusion: { ...before, path: [...before.path] } });
  }
  const there = lines.length;
  for await (const chained of readAll(store, session)) lines.push(lineOf(chained));
  if (lines.length === there) {
    throw new GloveboxError('GB_NOT_FOUND', {
      what: 'audit trail',
      detail: 'no session of that id has records',
    });
  }
  const last = checkpoints.at(-1);
  const found = inclusionOf(session, await store.heads());
  if (last === undefined || found === undefined) return;
  lines.push({ type: 'checkpoint', token: last.token, inclusion: { ...found, path: [...found.path] } });
}

const lineOf = (chained: ChainedRecord): ExportLine => ({
  type: 'record',
  seq: chained.seq,
  prev: chained.prev,
  hash: chained.hash,
  record: chained.record,
});

export async function* readAll(store: AuditStore, session?: string): AsyncGenerator<ChainedRecord> {
  let after = 0;
  for (;;) {
    const page = await store.read({
      ...(session === undefined ? {} : { session }),
      afterSeq: after,
      limit: limits.auditQuery.value,
    });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < limits.auditQuery.value) return;
    after = last.seq;
  }
}
