import type { AuditRecord } from '../../pure/contracts/index.ts';
import { chainRecord, headAfter, type ChainedRecord, type ChainHead } from '../../pure/verify/index.ts';
import type { StreamRecord } from '../bus/index.ts';
import { admit, rejection, sameRecord, type RejectReason } from './admit.ts';
import type { AuditBatch, AuditStore } from './store.ts';

export interface SecurityEvent {
  readonly reason: RejectReason;
  readonly session: string;
  readonly sequence: number;
}

export interface BuiltBatch extends AuditBatch {
  readonly securityEvents: readonly SecurityEvent[];
}

/** Messages of the stream, in its order, as the next batch of the store. What the store has already is passed over. */
export async function buildBatch(
  store: AuditStore,
  messages: readonly StreamRecord[],
): Promise<BuiltBatch | undefined> {
  const builder = new ChainBuilder(store, await store.lastSeq());
  for (const message of messages) await builder.add(message);
  return builder.batch();
}

class ChainBuilder {
  readonly #store: AuditStore;
  readonly #startSeq: number;
  readonly #records: ChainedRecord[] = [];
  readonly #heads = new Map<string, ChainHead>();
  readonly #ids = new Map<string, AuditRecord>();
  readonly #securityEvents: SecurityEvent[] = [];
  #lastSeq: number;

  constructor(store: AuditStore, lastSeq: number) {
    this.#store = store;
    this.#startSeq = lastSeq;
    this.#lastSeq = lastSeq;
  }

  async add(message: StreamRecord): Promise<void> {
    // Delivered again, after a crash or a new connection: it is in the store.
    if (message.sequence <= this.#lastSeq) return;
    const missing = message.sequence - this.#lastSeq - 1;
    this.#lastSeq = message.sequence;
    if (missing > 0) {
      // Said in the place of the last that is missing: one place holds one record.
      const detail = `${missing} records before ${message.sequence} are missing`;
      await this.#reject({ ...message, sequence: message.sequence - 1 }, 'gap', 'system', detail);
    }
    const admitted = admit(message);
    if (admitted.kind === 'rejected') {
      await this.#reject(message, admitted.reason, admitted.session);
      return;
    }
    const { record } = admitted;
    const known = await this.#find(record);
    if (known === undefined) return this.#append(message.sequence, record);
    // A publisher that got no acknowledgement sends the same bytes again. Other content under the id is forged.
    if (!sameRecord(known, record)) await this.#reject(message, 'id-reused', record.session);
  }

  batch(): BuiltBatch | undefined {
    if (this.#lastSeq === this.#startSeq) return undefined;
    return {
      afterSeq: this.#startSeq,
      records: this.#records,
      heads: [...this.#heads.values()],
      lastSeq: this.#lastSeq,
      securityEvents: this.#securityEvents,
    };
  }

  async #reject(
    message: StreamRecord,
    reason: RejectReason,
    session: string,
    detail?: string,
  ): Promise<void> {
    this.#securityEvents.push({ reason, session, sequence: message.sequence });
    await this.#append(message.sequence, rejection(message, reason, session, detail));
  }

  async #find(record: AuditRecord): Promise<AuditRecord | undefined> {
    return this.#ids.get(key(record)) ?? (await this.#store.find(record.session, record.id));
  }

  async #append(seq: number, record: AuditRecord): Promise<void> {
    const head = this.#heads.get(record.session) ?? (await this.#store.head(record.session));
    const chained = chainRecord(head, seq, record);
    this.#records.push(chained);
    this.#heads.set(record.session, headAfter(head, chained));
    this.#ids.set(key(record), record);
  }
}

const key = (record: AuditRecord): string => `${record.session}/${record.id}`;
