import { z } from 'zod';
import { auditRecord } from '../contracts/index.ts';

/** An export: JSON lines. A header, then records by `seq` with each checkpoint after the last record that it covers. */
const hex = z.string().regex(/^[0-9a-f]{64}$/);
const head = z.strictObject({
  session: z.string().min(1).max(64),
  count: z.int().min(1),
  hash: hex,
  lastSeq: z.int().min(1),
});

const inclusion = z.strictObject({ head, index: z.int().min(0), path: z.array(hex).max(64) });

export const exportHeader = z.strictObject({
  type: z.literal('glovebox-audit'),
  version: z.literal(1),
  /** All sessions, or one by its id. */
  session: z.string().max(64).nullable(),
});
export const exportRecord = z.strictObject({
  type: z.literal('record'),
  seq: z.int().min(1),
  prev: hex,
  hash: hex,
  record: auditRecord,
});
export const exportCheckpoint = z.strictObject({
  type: z.literal('checkpoint'),
  token: z.string().max(8192),
  /** In the export of one session: its place under the checkpoint. */
  inclusion: inclusion.optional(),
});
/** After the header, where records were taken away: what is left goes on from there. */
export const exportTombstone = z.strictObject({
  type: z.literal('tombstone'),
  token: z.string().max(8192),
  heads: z.array(head).optional(),
  inclusion: inclusion.optional(),
});
export const exportLine = z.discriminatedUnion('type', [
  exportHeader,
  exportTombstone,
  exportRecord,
  exportCheckpoint,
]);
export type ExportLine = z.infer<typeof exportLine>;
