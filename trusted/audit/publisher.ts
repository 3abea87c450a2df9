import {
  auditRecord,
  auditSubject,
  GloveboxError,
  type AuditComponent,
  type AuditRecord,
} from '../../pure/contracts/index.ts';
import { publishIntent, type BusConnection, type StoredIntent } from '../bus/index.ts';

export type RecordFields = Omit<AuditRecord, 'version' | 'id' | 'component' | 'kind' | 'time' | 'intent'>;

export interface AuditPublisherOptions {
  readonly bus: BusConnection;
  readonly component: AuditComponent;
  /** Unguessable: 26 characters of base32 (`encodeId` of 16 random bytes). */
  readonly newId: () => string;
  readonly now: () => Date;
}

/** Records of one part. Each method resolves when the record is stored; GB_AUDIT_UNAVAILABLE: nothing may happen (R42). */
export class AuditPublisher {
  readonly #options: AuditPublisherOptions;

  constructor(options: AuditPublisherOptions) {
    this.#options = options;
  }

  /** Before the effect. */
  async intent(fields: RecordFields): Promise<StoredIntent & { readonly id: string }> {
    return this.#publish({ ...this.#record('intent'), ...fields });
  }

  /** After it, or where it will never be known. */
  async outcome(
    intent: string,
    fields: RecordFields & Required<Pick<AuditRecord, 'outcome'>>,
  ): Promise<StoredIntent> {
    return this.#publish({ ...this.#record('outcome'), ...fields, intent });
  }

  async event(fields: RecordFields): Promise<StoredIntent> {
    return this.#publish({ ...this.#record('event'), ...fields });
  }

  #record(kind: AuditRecord['kind']): Pick<AuditRecord, 'version' | 'id' | 'component' | 'kind' | 'time'> {
    const { component, newId, now } = this.#options;
    return { version: 1, id: newId(), component, kind, time: now().toISOString() };
  }

  async #publish(record: AuditRecord): Promise<StoredIntent & { readonly id: string }> {
    const parsed = auditRecord.safeParse(record);
    if (!parsed.success) {
      const place = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
      throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: `a record is not well-formed (${place})` });
    }
    const subject = auditSubject(
      parsed.data.session as Parameters<typeof auditSubject>[0],
      this.#options.component,
    );
    const stored = await publishIntent(this.#options.bus, subject, Buffer.from(JSON.stringify(parsed.data)), {
      newMessageId: this.#options.newId,
    });
    return { ...stored, id: record.id };
  }
}
