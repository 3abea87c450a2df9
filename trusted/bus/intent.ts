import {
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  DiscardPolicy,
  type PubAck,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { auditPattern, auditStream, GloveboxError, limits } from '../../pure/contracts/index.ts';
import type { BusConnection } from './connection.ts';
import { busFailure } from './failures.ts';

/**
 * The stream of audit records, by the control plane. When it is full of what the writer has not stored, publishing fails,
 * and so does what wanted to be recorded (`discard: new`, R42); nothing ever leaves it by age.
 */
export async function ensureAuditStream(bus: BusConnection): Promise<void> {
  await bus.use(async (nc) => {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    const config = {
      name: auditStream,
      subjects: [auditPattern],
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
      max_bytes: limits.auditStream.value,
      max_msg_size: limits.auditRecord.value,
      deny_delete: true,
      num_replicas: 1,
    };
    try {
      await manager.streams.add(config);
    } catch (error) {
      throw busFailure(error, auditStream);
    }
  });
}

export interface StoredIntent {
  readonly stream: string;
  readonly sequence: number;
}

export interface IntentOptions {
  /** Unguessable; asked again when the server calls one a duplicate. */
  readonly newMessageId: () => string;
  readonly timeoutMs?: number;
}

const attempts = 3;

/**
 * Stores one record and returns where. NATS acknowledges a message whose id it has seen as a `duplicate` without storing
 * it: an id that somebody published first would make an intent vanish, acknowledged. Such an answer never counts: the same
 * bytes are sent again under a fresh id. The record's own id is in the bytes, so the writer stores it once (R9, R42).
 */
export async function publishIntent(
  bus: BusConnection,
  subject: string,
  record: Uint8Array,
  options: IntentOptions,
): Promise<StoredIntent> {
  if (record.length > limits.auditRecord.value) {
    throw unavailable(`the record has more than ${limits.auditRecord.value} bytes`);
  }
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const ack = await store(bus, subject, record, options);
    if (ack.stream !== auditStream || !Number.isSafeInteger(ack.seq) || ack.seq < 1) {
      throw unavailable('the acknowledgement is not of the audit stream');
    }
    if (ack.duplicate !== true) return { stream: ack.stream, sequence: ack.seq };
  }
  throw unavailable('its message ids are taken');
}

async function store(
  bus: BusConnection,
  subject: string,
  record: Uint8Array,
  options: IntentOptions,
): Promise<PubAck> {
  try {
    return await bus.use((nc) =>
      jetstream(nc).publish(subject, record, {
        msgID: options.newMessageId(),
        expect: { streamName: auditStream },
        timeout: options.timeoutMs ?? limits.auditAcknowledge.value,
        retries: 1,
      }),
    );
  } catch (error) {
    const cause = busFailure(error, subject);
    throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: `${cause.what} ${cause.why}` }, { cause });
  }
}

export interface StoredRecord {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** One stored record, for the secret broker and the control plane. Undefined where there is none. */
export async function readStored(bus: BusConnection, sequence: number): Promise<StoredRecord | undefined> {
  return bus.use(async (nc: NatsConnection) => {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    const message = await manager.streams.getMessage(auditStream, { seq: sequence });
    return message === null
      ? undefined
      : { subject: message.subject, sequence: message.seq, data: message.data };
  });
}

const unavailable = (detail: string): GloveboxError => new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail });
