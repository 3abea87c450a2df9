import { randomUUID } from 'node:crypto';
import {
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type PubAck,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import {
  auditConsumer,
  auditPattern,
  auditStream,
  GloveboxError,
  limits,
} from '../../pure/contracts/index.ts';
import type { BusConnection } from './connection.ts';
import { busFailure, isPassing } from './failures.ts';
import { persist, type Patience } from './persist.ts';

/**
 * The stream of audit records, by the control plane. When it is full of what the writer has not stored, publishing fails,
 * and so does what wanted to be recorded (`discard: new`, R42); nothing leaves it by age. A stream that is made anew (its
 * folder was lost) goes on after `lastSeq`, the last that the store has, so that no number is used twice. Returns the last
 * sequence of the stream.
 */
export async function ensureAuditStream(bus: BusConnection, lastSeq = 0, replicas = 1): Promise<number> {
  return whilePassing(() =>
    bus.use(async (nc) => {
      const { streams } = await jetstreamManager(nc, { checkAPI: false });
      try {
        return (await streams.info(auditStream)).state.last_seq;
      } catch (error) {
        if (!isNotFound(error)) throw busFailure(error, auditStream);
      }
      const made = await streams.add({
        ...auditStreamConfig,
        num_replicas: replicas,
        ...(lastSeq === 0 ? {} : { first_seq: lastSeq + 1 }),
      });
      return Math.max(lastSeq, made.state.last_seq);
    }),
  );
}

/** The last sequence of the stream: also a sign that the server and its stream answer. */
export async function auditStreamEnd(bus: BusConnection): Promise<number> {
  return await bus.use(async (nc) => {
    const { streams } = await jetstreamManager(nc, { checkAPI: false });
    return (await streams.info(auditStream)).state.last_seq;
  });
}

const auditStreamConfig = {
  name: auditStream,
  subjects: [auditPattern],
  storage: StorageType.File,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  max_bytes: limits.auditStream.value,
  max_msg_size: limits.auditRecord.value,
  deny_delete: true,
};

export interface StreamRecord extends StoredRecord {
  /** When the stream took it. */
  readonly time: Date;
}

/**
 * Reads the stream from a sequence on, in its order and without a gap, to `take`, until `signal`. Nothing is acknowledged:
 * how far it got is for the receiver to remember, together with what it made of it. Returns at each rotation of the
 * connection too, to be called again.
 */
export async function readStream(
  bus: BusConnection,
  fromSeq: number,
  take: (record: StreamRecord) => void,
  signal: AbortSignal,
): Promise<void> {
  await bus.use(async (nc) => {
    const consumer = await jetstream(nc).consumers.get(auditStream, {
      // A name of its own each time: one that a reload of the server left behind stands in nobody's way.
      name_prefix: `${auditConsumer}-${randomUUID()}`,
      opt_start_seq: fromSeq,
    });
    const messages = await consumer.consume({ max_messages: 500 });
    const stop = (): void => messages.stop();
    const forget = bus.onRotated(stop);
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) return;
      for await (const message of messages) {
        take({
          subject: message.subject,
          sequence: message.seq,
          data: message.data,
          time: new Date(message.timestamp),
        });
      }
    } finally {
      forget();
      signal.removeEventListener('abort', stop);
      // With the connection gone the consumer ends by itself.
      await consumer.delete().catch(() => false);
    }
  });
}

/** Lets the stream forget what is in the store, up to `sequence`. */
export async function trimStream(bus: BusConnection, sequence: number): Promise<void> {
  await whilePassing(() =>
    bus.use(async (nc) => {
      const { streams } = await jetstreamManager(nc, { checkAPI: false });
      await streams.purge(auditStream, { seq: sequence + 1 });
    }),
  );
}

export interface StoredIntent {
  readonly stream: string;
  readonly sequence: number;
}

export interface IntentOptions {
  /** Unguessable; asked again when the server calls one a duplicate. */
  readonly newMessageId: () => string;
  /** For all tries together. */
  readonly timeoutMs?: number;
}

const attempts = 3;
const patience: Patience = { attempts: Infinity, firstMs: 50, longestMs: 500 };

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

/** One message id: JetStream keeps one of however many tries reach it. Each is sent over the connection of that moment. */
async function store(
  bus: BusConnection,
  subject: string,
  record: Uint8Array,
  options: IntentOptions,
): Promise<PubAck> {
  const msgID = options.newMessageId();
  const until = Date.now() + (options.timeoutMs ?? limits.auditStored.value);
  const left = (): number => until - Date.now();
  try {
    return await persist(
      () =>
        bus.use((nc) =>
          jetstream(nc).publish(subject, record, {
            msgID,
            expect: { streamName: auditStream },
            timeout: Math.max(1, Math.min(limits.auditAcknowledge.value, left())),
            retries: 1,
          }),
        ),
      (error) => isPassing(error) && left() > 0,
      patience,
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
  return whilePassing(() =>
    bus.use(async (nc: NatsConnection) => {
      const manager = await jetstreamManager(nc, { checkAPI: false });
      const message = await manager.streams.getMessage(auditStream, { seq: sequence });
      return message === null
        ? undefined
        : { subject: message.subject, sequence: message.seq, data: message.data };
    }),
  );
}

/** For what may be done twice. */
function whilePassing<T>(work: () => Promise<T>): Promise<T> {
  const until = Date.now() + limits.auditStored.value;
  return persist(work, (error) => isPassing(error) && Date.now() < until, patience);
}

const unavailable = (detail: string): GloveboxError => new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail });

const isNotFound = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound;
