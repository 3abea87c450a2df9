import { z } from 'zod';
import { isId, isUserId } from './ids.ts';
import { limits } from './limits.ts';

/** Bounded, and without control, format or separator characters: no record can forge a line or shape a terminal (R41). */
const text = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]*$/u, 'no control or format characters');
const name = (max: number): z.ZodString => text(max).min(1);
const id = z.string().refine(isId, 'not an id');

/** A request through the egress proxy: where it went, what it moved, how long it took. */
export const egressFacts = z.strictObject({
  /** `https://host:port/path`, without its query: that may hold what nobody should keep. */
  url: name(limits.auditText.value),
  status: z.int().min(100).max(999).optional(),
  /** The address that was checked and connected to. */
  address: name(64).optional(),
  /** Bytes of the bodies. */
  sent: z.int().min(0).optional(),
  received: z.int().min(0).optional(),
  /** From the request's arrival to its last byte. */
  ms: z.int().min(0).optional(),
});
export type EgressFacts = z.infer<typeof egressFacts>;

/**
 * What is written down of every operation (R41). An `intent` is stored before the effect, an `outcome` names the same id
 * in `intent`; an `event` stands alone. `args_hash` is SHA-256, lower-case hex, of the arguments' canonical JSON
 * (RFC 8785). The session is taken from the subject; the field is only compared with it.
 */
export const auditRecord = z.strictObject({
  version: z.literal(1),
  id,
  session: z.union([id, z.literal('system')]),
  turn: id.nullable(),
  user: z.string().refine(isUserId, 'not a user id').nullable(),
  sandbox: id.nullable(),
  component: z.enum(['sidecar', 'control-plane']),
  kind: z.enum(['intent', 'outcome', 'event']),
  /** The intent that an outcome ends. */
  intent: id.optional(),
  operation: name(200),
  args_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in hex')
    .nullable(),
  scope: name(limits.auditText.value).optional(),
  grant: id.optional(),
  /** The name of the secret that the operation will use; the secret broker hands it out against this record only. */
  secret: name(64).optional(),
  decision: z.enum(['allow', 'deny', 'ask']),
  rule: name(200),
  outcome: z.enum(['ok', 'error', 'denied', 'unknown']).optional(),
  detail: text(limits.auditText.value).optional(),
  egress: egressFacts.optional(),
  /** RFC 3339, UTC, milliseconds. */
  time: z.iso.datetime({ precision: 3 }),
});
export type AuditRecord = z.infer<typeof auditRecord>;

/** Text of a sandbox or provider as it may stand in a record: escaped and cut. */
export const auditText = (value: string): string =>
  value
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)
    .slice(0, limits.auditText.value)
    .toWellFormed();
