import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoreSetting } from '../../pure/contracts/index.ts';
import { verifyExport } from '../../pure/verify/index.ts';
import {
  AuditPublisher,
  ElectedAuditWriter,
  exportAudit,
  type ElectedWriterOptions,
} from '../../trusted/audit/index.ts';
import { createCheckpointKey, fieldsOf, type TestCheckpointKey } from '../../trusted/audit/testing.ts';
import { newMessageId, newSessionId, startTestBus, type TestBus } from '../../trusted/bus/testing.ts';
import { auditWriterLease, openPostgresStore, replicaLease, type Store } from '../../trusted/store/index.ts';
import { startPostgres, type PostgresServer } from '../../trusted/store/testing.ts';
import { until } from './control-plane-world.ts';

let server: PostgresServer;
let setting: StoreSetting;
let bus: TestBus;
let key: TestCheckpointKey;
const undo: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  [server, bus, key] = await Promise.all([startPostgres(), startTestBus(), createCheckpointKey()]);
  undo.push(
    async () => await server.close(),
    async () => await bus.close(),
  );
  setting = await server.database();
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface Replica {
  readonly store: Store;
  readonly writer: ElectedAuditWriter;
  readonly errors: unknown[];
}

/** What the control planes of one installation share: the database, the bus, the key. */
async function replica(name: string, over: Partial<ElectedWriterOptions> = {}): Promise<Replica> {
  const store = await openPostgresStore(setting);
  const errors: unknown[] = [];
  const writer = await ElectedAuditWriter.start({
    bus: await bus.connect({ kind: 'control-plane', replica: name }),
    store: store.audit,
    signCheckpoint: (payload) => key.sign(payload),
    now: () => new Date(),
    onError: (error) => errors.push(error),
    takeLease: async () => await store.replicas.tryTake(auditWriterLease),
    retryMs: 20,
    checkpointRecords: 25,
    ...over,
  });
  undo.push(
    async () => await store.close(),
    async () => await writer.stop(),
  );
  return { store, writer, errors };
}

async function publish(count: number): Promise<number> {
  const session = newSessionId();
  const connection = await bus.connect({ kind: 'sidecar', session });
  const trail = new AuditPublisher({
    bus: connection,
    component: 'sidecar',
    newId: newMessageId,
    now: () => new Date(),
  });
  let last = 0;
  for (let n = 0; n < count; n += 1) last = (await trail.event(fieldsOf(session))).sequence;
  return last;
}

async function verified(one: Replica, other: Replica): Promise<unknown> {
  const writing = await until(async () => one.writer.writes || other.writer.writes).then(() =>
    one.writer.writes ? one : other,
  );
  return await verifyExport(await exportAudit(writing.writer, writing.store.audit), key.jwks);
}

/** As when the network between them breaks: the server ends the connection that holds the lease. */
const breakLease = async (): Promise<unknown> =>
  await server.query(setting, `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'`);

describe('two replicas on one PostgreSQL and one bus', () => {
  it('one writes the trail, the other knows how far it is; when the first ends the other goes on', async () => {
    const first = await replica('one');
    const second = await replica('two');
    expect([first.writer.writes, second.writer.writes]).toEqual([true, false]);
    await second.writer.caughtUp(await publish(5));
    await first.writer.stop();
    await second.writer.caughtUp(await publish(5));
    expect(second.writer.writes).toBe(true);
    expect(await verified(first, second)).toMatchObject({ ok: true, records: 10, uncovered: 0 });
  });

  it('[R41] [R46] the lease breaks again and again under load: no record is lost, doubled, or out of its chain', async () => {
    const first = await replica('one');
    const second = await replica('two');
    const published = Promise.all(Array.from({ length: 4 }, async () => await publish(60)));
    let broken = 0;
    const over = new AbortController();
    void published.finally(() => over.abort());
    for (; !over.signal.aborted; broken += 1) {
      await until(async () => over.signal.aborted || first.writer.writes || second.writer.writes);
      await breakLease();
    }
    const last = Math.max(...(await published));
    await Promise.all([first.writer.caughtUp(last), second.writer.caughtUp(last)]);
    expect(broken).toBeGreaterThan(1);
    expect(await verified(first, second)).toMatchObject({ ok: true, records: 240, sessions: 4 });
  });

  it('[R41] a writer that stood still while another took its place writes nothing any more', async () => {
    let go: () => void = () => undefined;
    const still = new Promise<void>((resolve) => (go = resolve));
    let reached: () => void = () => undefined;
    const atAppend = new Promise<void>((resolve) => (reached = resolve));
    const frozen = await openPostgresStore(setting);
    undo.push(async () => await frozen.close());
    const { audit } = frozen;
    const append = audit.append.bind(audit);
    audit.append = async (batch) => {
      reached();
      await still;
      await append(batch);
    };
    const first = await replica('one', { store: audit });
    const sequence = await publish(3);
    await atAppend;
    await breakLease();
    const second = await replica('two');
    await second.writer.caughtUp(sequence);
    go();
    await until(async () =>
      first.errors.some((error) => String(error).includes('another replica was first')),
    );
    await second.writer.caughtUp(await publish(3));
    expect(await verified(first, second)).toMatchObject({ ok: true, records: 6 });
  });

  it('[R46] a replica that is killed gives its leases free at once; one that lives keeps them', async () => {
    const store = await openPostgresStore(setting);
    undo.push(async () => await store.close());
    const script = `${import.meta.dirname}/lease-process.ts`;
    const words = ['--import', 'tsx', script, JSON.stringify(setting), replicaLease('other')];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('held');
    expect(await store.replicas.tryTake(replicaLease('other'))).toBeUndefined();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await until(async () => (await store.replicas.tryTake(replicaLease('other'))) !== undefined);
  });
});
