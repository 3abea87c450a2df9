import { createHash } from 'node:crypto';
import {
  auditRecord,
  encodeId,
  isId,
  parseSubject,
  systemChain,
  type AuditRecord,
} from '../../pure/contracts/index.ts';
import { canonicalJson } from '../../pure/policy/index.ts';
import type { StreamRecord } from '../bus/index.ts';

/** Why a message of the stream is no record of who its subject says. Written into the trail in its place. */
export type RejectReason = 'unreadable' | 'session-mismatch' | 'component-mismatch' | 'id-reused' | 'gap';

export type Admitted =
  | { readonly kind: 'record'; readonly record: AuditRecord }
  | { readonly kind: 'rejected'; readonly reason: RejectReason; readonly session: string };

/** The session comes from the subject, which the bus has pinned to its publisher; the body is only compared (R2, R9). */
export function admit(message: StreamRecord): Admitted {
  const place = parseSubject('audit', message.subject);
  const session = place?.['session'] ?? '';
  // A subject of another form cannot be published; if it is there all the same it is the control plane's own affair.
  if (!isId(session) && session !== systemChain) return rejected('unreadable', systemChain);
  const record = parse(message.data);
  if (record === undefined) return rejected('unreadable', session);
  if (record.session !== session) return rejected('session-mismatch', session);
  if (record.component !== place?.['component']) return rejected('component-mismatch', session);
  return { kind: 'record', record };
}

/** What stands in the trail for a message that was not admitted. The same message gives the same record, after a crash too. */
export function rejection(
  message: StreamRecord,
  reason: RejectReason,
  session: string,
  detail = `message ${message.sequence} on ${message.subject}`,
): AuditRecord {
  const digest = createHash('sha256').update(message.data).digest('hex');
  const id = createHash('sha256').update(`${reason}\n${message.sequence}\n${digest}`).digest();
  return {
    version: 1,
    id: encodeId(id.subarray(0, 16)),
    session,
    turn: null,
    user: null,
    sandbox: null,
    component: 'control-plane',
    kind: 'event',
    operation: 'audit.reject',
    args_hash: digest,
    decision: 'deny',
    rule: `audit.${reason}`,
    outcome: 'denied',
    detail,
    time: message.time.toISOString(),
  };
}

export const sameRecord = (a: AuditRecord, b: AuditRecord): boolean => canonicalJson(a) === canonicalJson(b);

const rejected = (reason: RejectReason, session: string): Admitted => ({ kind: 'rejected', reason, session });

function parse(data: Uint8Array): AuditRecord | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
    return auditRecord.safeParse(value).data;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}
