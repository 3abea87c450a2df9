import { GloveboxError } from '../../pure/contracts/index.ts';

export interface AuditVerdict {
  readonly ok: boolean;
  readonly report: unknown;
  readonly lines: readonly string[];
}

/** Checks an export without the control plane. */
export async function verifyAuditText(text: string): Promise<AuditVerdict> {
  throw new GloveboxError('GB_INTERNAL', { detail: `cannot verify ${text.length} characters yet` });
}
