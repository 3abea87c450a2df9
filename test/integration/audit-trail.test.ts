import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { auditSubject, type AuditRecord, type SessionId } from '../../pure/contracts/index.ts';
import { verifyExport } from '../../pure/verify/index.ts';
import { ensureAuditStream, publishIntent, type BusConnection } from '../../trusted/bus/index.ts';
import { newMessageId, newSessionId, startTestBus, type TestBus } from '../../trusted/bus/testing.ts';
import {
  AuditPublisher,
  AuditWriter,
  exportAudit,
  MemoryAuditStore,
  openIntentsOf,
  type AuditBatch,
  type SecurityEvent,
} from '../../trusted/audit/index.ts';
import { createCheckpointKey, fieldsOf, type TestCheckpointKey } from '../../trusted/audit/testing.ts';

let bus: TestBus;
let controlPlane: BusConnection;
let key: TestCheckpointKey;
let store: MemoryAuditStore;
let events: SecurityEvent[];
let writers: AuditWriter[];

beforeEach(async () => {
  bus = await startTestBus();
  controlPlane = await bus.connect({ kind: 'control-plane', replica: 'main' });
  key = await createCheckpointKey();
  store = new MemoryAuditStore();
  events = [];
  writers = [];
});
afterEach(async () => {
  await Promise.all(writers.map((writer) => writer.stop()));
  await bus.close();
});

async function startWriter(
  over: Partial<Parameters<typeof AuditWriter.start>[0]> = {},
): Promise<AuditWriter> {
  const writer = await AuditWriter.start({
    bus: controlPlane,
    store,
    signCheckpoint: (payload) => key.sign(payload),
    now: () => new Date(),
    onSecurityEvent: (event) => events.push(event),
    onError: () => undefined,
    ...over,
  });
  writers.push(writer);
  return writer;
}

const publisher = (connection: BusConnection): AuditPublisher =>
  new AuditPublisher({ bus: connection, component: 'sidecar', newId: newMessageId, now: () => new Date() });

const raw = (connection: BusConnection, session: SessionId, record: unknown): Promise<{ sequence: number }> =>
  publishIntent(connection, auditSubject(session, 'sidecar'), Buffer.from(JSON.stringify(record)), {
    newMessageId,
  });

const recordOf = (session: SessionId, over: Partial<AuditRecord> = {}): AuditRecord => ({
  version: 1,
  id: newMessageId(),
  component: 'sidecar',
  kind: 'intent',
  time: new Date().toISOString(),
  ...fieldsOf(session),
  ...over,
});

describe('the audit writer', () => {
  it('[R41] [R4] writes intents and outcomes of every session, through a rotation, and the export verifies', async () => {
    const writer = await startWriter();
    const [a, b] = [newSessionId(), newSessionId()];
    const trailA = publisher(await bus.connect({ kind: 'sidecar', session: a }));
    const trailB = publisher(await bus.connect({ kind: 'sidecar', session: b }));
    const intent = await trailA.intent(fieldsOf(a));
    await trailB.event(fieldsOf(b, { decision: 'deny', outcome: 'denied' }));
    await controlPlane.rotate(await bus.ca.issue({ kind: 'control-plane', replica: 'main' }));
    const open = await trailB.intent(fieldsOf(b));
    const { sequence } = await trailA.outcome(intent.id, { ...fieldsOf(a), outcome: 'ok' });
    await writer.caughtUp(sequence);
    const whole = await verifyExport(await exportAudit(writer, store), key.jwks);
    expect(whole).toEqual({ ok: true, records: 4, sessions: 2, checkpoints: 1, uncovered: 0, removed: 0 });
    const one = await verifyExport(await exportAudit(writer, store, b), key.jwks);
    expect(one).toEqual({ ok: true, records: 2, sessions: 1, checkpoints: 1, uncovered: 0, removed: 0 });
    expect((await openIntentsOf(store, a)).length).toBe(0);
    expect((await openIntentsOf(store, b)).map((record) => record.id)).toEqual([open.id]);
    await expect(exportAudit(writer, store, newSessionId())).rejects.toMatchObject({ code: 'GB_NOT_FOUND' });
  });

  it('[R9] takes the session from the subject: a record that names another is written down as a security event', async () => {
    const writer = await startWriter();
    const [mallory, victim] = [newSessionId(), newSessionId()];
    const connection = await bus.connect({ kind: 'sidecar', session: mallory });
    await raw(connection, mallory, recordOf(victim));
    await raw(connection, mallory, { ...recordOf(mallory), component: 'control-plane' });
    await raw(connection, mallory, { ...recordOf(mallory), operation: 'a\nforged line' });
    const { sequence } = await raw(connection, mallory, recordOf(mallory));
    await writer.caughtUp(sequence);
    expect(events.map(({ reason, session }) => [reason, session])).toEqual([
      ['session-mismatch', mallory],
      ['component-mismatch', mallory],
      ['unreadable', mallory],
    ]);
    expect(await store.head(victim)).toBeUndefined();
    const records = await store.read({ session: mallory, limit: 10 });
    expect(records.map(({ record }) => record.rule)).toEqual([
      'audit.session-mismatch',
      'audit.component-mismatch',
      'audit.unreadable',
      'test',
    ]);
  });

  it('stores a record that is sent twice once, and other content under its id as forged', async () => {
    const writer = await startWriter();
    const session = newSessionId();
    const connection = await bus.connect({ kind: 'sidecar', session });
    const record = recordOf(session);
    await raw(connection, session, record);
    await raw(connection, session, record);
    const { sequence } = await raw(connection, session, { ...record, operation: 'files.write' });
    await writer.caughtUp(sequence);
    const records = await store.read({ session, limit: 10 });
    expect(records.map((chained) => chained.record.rule)).toEqual(['test', 'audit.id-reused']);
    expect(events.map((event) => event.reason)).toEqual(['id-reused']);
  });

  it('one session cannot take another’s record ids', async () => {
    const writer = await startWriter();
    const [mallory, victim] = [newSessionId(), newSessionId()];
    const record = recordOf(victim);
    await raw(await bus.connect({ kind: 'sidecar', session: mallory }), mallory, {
      ...record,
      session: mallory,
    });
    const stored = await raw(await bus.connect({ kind: 'sidecar', session: victim }), victim, record);
    await writer.caughtUp(stored.sequence);
    expect((await store.read({ session: victim, limit: 10 })).map((chained) => chained.record)).toEqual([
      record,
    ]);
  });

  it('[R42] [R46] a crash at any append repeats and loses no record', async () => {
    const session = newSessionId();
    const trail = publisher(await bus.connect({ kind: 'sidecar', session }));
    await ensureAuditStream(controlPlane);
    const ids: string[] = [];
    for (let index = 0; index < 6; index += 1) ids.push((await trail.intent(fieldsOf(session))).id);
    for (const survives of [false, true, false, true]) {
      let crashed = (): void => undefined;
      const crash = new Promise<void>((resolve) => {
        crashed = resolve;
      });
      const crashing = new Proxy(store, {
        get: (target, name) => {
          if (name === 'append') {
            return async (batch: AuditBatch): Promise<void> => {
              if (survives) await target.append(batch);
              crashed();
              throw new Error('the process was killed here');
            };
          }
          const value: unknown = Reflect.get(target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      const writer = await startWriter({ store: crashing });
      ids.push((await trail.intent(fieldsOf(session))).id);
      await crash;
      await writer.stop();
    }
    const writer = await startWriter();
    const last = await trail.intent(fieldsOf(session));
    await writer.caughtUp(last.sequence);
    const records = await store.read({ session, limit: 100 });
    expect(records.map((chained) => chained.record.id)).toEqual([...ids, last.id]);
    expect(await verifyExport(await exportAudit(writer, store), key.jwks)).toMatchObject({
      ok: true,
      records: 11,
    });
  });

  it('a store that is away is said once until it is back, and nothing is lost', async () => {
    let away = 3;
    const told: unknown[] = [];
    class Away extends MemoryAuditStore {
      override async append(batch: AuditBatch): Promise<void> {
        away -= 1;
        if (away >= 0) throw new Error('the store is away');
        await super.append(batch);
      }
    }
    const absent = new Away();
    const writer = await startWriter({ store: absent, onError: (error) => told.push(error) });
    const session = newSessionId();
    const sidecar = await bus.connect({ kind: 'sidecar', session });
    const send = async (): Promise<void> =>
      await writer.caughtUp((await publisher(sidecar).event(fieldsOf(session))).sequence);
    await send();
    expect(told).toHaveLength(1);
    away = 2;
    await send();
    expect(told).toHaveLength(2);
    expect((await absent.read({ limit: 10 })).length).toBe(2);
  });

  it('signs a checkpoint each N records, each linked to the one before', async () => {
    const writer = await startWriter({ checkpointRecords: 2 });
    const session = newSessionId();
    const trail = publisher(await bus.connect({ kind: 'sidecar', session }));
    for (let index = 0; index < 5; index += 1) {
      await writer.caughtUp((await trail.event(fieldsOf(session))).sequence);
    }
    expect((await store.checkpoints()).map(({ payload }) => payload.records)).toEqual([2, 4]);
    const lines = await exportAudit(writer, store);
    expect(await verifyExport(lines, key.jwks)).toMatchObject({
      ok: true,
      checkpoints: 3,
      uncovered: 0,
      removed: 0,
    });
  });

  it('[R42] refuses a stream whose numbers would be taken for records that the store has', async () => {
    await store.append({ afterSeq: 0, records: [], heads: [], lastSeq: 50 });
    await ensureAuditStream(controlPlane);
    await expect(startWriter()).rejects.toMatchObject({ code: 'GB_AUDIT_TAMPERED' });
  });

  it('goes on after the store’s last record where the stream was lost', async () => {
    await store.append({ afterSeq: 0, records: [], heads: [], lastSeq: 50 });
    const writer = await startWriter();
    const session = newSessionId();
    const { sequence } = await publisher(await bus.connect({ kind: 'sidecar', session })).event(
      fieldsOf(session),
    );
    expect(sequence).toBe(51);
    await writer.caughtUp(sequence);
    expect(events).toEqual([]);
  });

  it('[R42] the bus is down: no intent is stored, so nothing may happen', async () => {
    const session = newSessionId();
    const trail = publisher(await bus.connect({ kind: 'sidecar', session }));
    await ensureAuditStream(controlPlane);
    await trail.intent(fieldsOf(session));
    process.kill(bus.server.pid ?? 0, 'SIGKILL');
    await bus.server.exited;
    await expect(trail.intent(fieldsOf(session))).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
  });
});

it('[R46] kill -9 of nats-server: every acknowledged record is there after the restart', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'glovebox-kill-'));
  try {
    const other = await startTestBus({ folder });
    const session = newSessionId();
    const main = await other.connect({ kind: 'control-plane', replica: 'main' });
    await ensureAuditStream(main);
    const trail = publisher(await other.connect({ kind: 'sidecar', session }));
    const acknowledged: number[] = [];
    const flood = Array.from({ length: 200 }, async (_, index) => {
      const stored = await trail.intent(fieldsOf(session)).catch(() => undefined);
      if (stored !== undefined) acknowledged.push(stored.sequence);
      if (index === 100) process.kill(other.server.pid ?? 0, 'SIGKILL');
    });
    await other.server.exited;
    await Promise.allSettled([other.abandon(), ...flood]);
    expect(acknowledged.length).toBeGreaterThan(0);

    const again = await startTestBus({ folder });
    const reader = await again.connect({ kind: 'control-plane', replica: 'main' });
    const kept = new MemoryAuditStore();
    const writer = await AuditWriter.start({
      bus: reader,
      store: kept,
      signCheckpoint: (payload) => key.sign(payload),
      now: () => new Date(),
      onError: () => undefined,
    });
    await writer.caughtUp(Math.max(...acknowledged));
    const sequences = new Set((await kept.read({ session, limit: 1000 })).map((chained) => chained.seq));
    expect(acknowledged.filter((sequence) => !sequences.has(sequence))).toEqual([]);
    await writer.stop();
    await again.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
