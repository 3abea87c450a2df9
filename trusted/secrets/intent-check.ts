import {
  auditRecord,
  GloveboxError,
  limits,
  parseSubject,
  type AuditRecord,
  type SessionId,
} from '../../pure/contracts/index.ts';

export interface StoredIntent {
  readonly subject: string;
  readonly data: Uint8Array;
}

export interface ReadRequest {
  readonly session: SessionId;
  readonly secret: string;
  readonly nowMs: number;
}

/**
 * Does this stored record permit this read (R28, invariant 7)? Session and component come from the subject, which the bus pins
 * to the publisher; the body is only compared. Throws GB_SECRET_REFUSED with the first thing that is wrong.
 */
export function checkIntent(stored: StoredIntent | undefined, request: ReadRequest): AuditRecord {
  if (stored === undefined) throw refused('no record is stored under that sequence');
  const subject = parseSubject('audit', stored.subject);
  if (subject === undefined || subject['session'] !== request.session || subject['component'] !== 'sidecar') {
    throw refused('the record is not one of this session’s sidecar');
  }
  const record = parsed(stored.data);
  if (record.session !== request.session) throw refused('the record names another session');
  if (record.kind !== 'intent') throw refused('the record is no intent');
  if (record.decision !== 'allow') throw refused('the record’s decision is not allow');
  if (record.secret !== request.secret) throw refused('the intent is not for this secret');
  const age = request.nowMs - Date.parse(record.time);
  if (!(age <= limits.secretIntentAge.value && age >= -limits.signerClockSkew.value)) {
    throw refused('the intent is not of now');
  }
  return record;
}

function parsed(data: Uint8Array): AuditRecord {
  try {
    return auditRecord.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)));
  } catch {
    throw refused('the record cannot be read');
  }
}

export const refused = (detail: string): GloveboxError => new GloveboxError('GB_SECRET_REFUSED', { detail });
