// node --import tsx bench/store.ts [rounds]: the stores, the chain and the wait for the audit, each beside the bare primitive
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import SQLite from 'better-sqlite3';
import { Client } from 'pg';
import { defaultTrustDomain, spiffeId, type AuditRecord } from '../pure/contracts/index.ts';
import { chainRecord, headAfter, type ChainedRecord, type ChainHead } from '../pure/verify/index.ts';
import { AuditPublisher } from '../trusted/audit/index.ts';
import { fieldsOf } from '../trusted/audit/testing.ts';
import { ensureAuditStream } from '../trusted/bus/index.ts';
import { newMessageId, newSessionId, startTestBus } from '../trusted/bus/testing.ts';
import { openPostgresStore, openSqliteStore, type Store } from '../trusted/store/index.ts';
import { startPostgres } from '../trusted/store/testing.ts';
import { median, pairedRatio, quantile, table } from './figures.ts';

const rounds = Number(process.argv[2] ?? 7);
const folder = mkdtempSync(join(tmpdir(), 'glovebox-bench-store-'));
const server = await startPostgres();
const bus = await startTestBus();
const [sqliteStore, postgresStore] = [
  await openSqliteStore(join(folder, 'store.db')),
  await openPostgresStore(await server.database()),
];

const bare = new SQLite(join(folder, 'bare.db'));
bare.pragma('journal_mode = WAL');
bare.pragma('synchronous = FULL');
bare.exec('create table t (a text primary key, b text, c integer, d integer)');
const insert = bare.prepare('insert into t values (?, ?, ?, 0)');
const place = new URL((await server.database()).url);
const client = new Client({
  host: place.searchParams.get('host') ?? '',
  user: 'owner',
  database: place.pathname.slice(1),
});
await client.connect();
await client.query('create table t (a text primary key, b text, c bigint, d integer)');

const session = newSessionId();
const controlPlane = await bus.connect({ kind: 'control-plane', replica: 'main' });
await ensureAuditStream(controlPlane);
const sidecar = await bus.connect({ kind: 'sidecar', session });
const trail = new AuditPublisher({
  bus: sidecar,
  component: 'sidecar',
  newId: newMessageId,
  now: () => new Date(),
});

const id = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
const record = (): AuditRecord => ({
  version: 1,
  id: newMessageId(),
  component: 'sidecar',
  kind: 'event',
  time: new Date().toISOString(),
  ...fieldsOf(session),
});
const heads = new Map<Store, ChainHead>();

/** 500 records into the store, as the writer does; the chain is made before, where it is not what is measured. */
async function append(store: Store): Promise<void> {
  let head = heads.get(store);
  const afterSeq = head?.lastSeq ?? 0;
  const records: ChainedRecord[] = [];
  for (let n = 1; n <= 500; n += 1) {
    const chained = chainRecord(head, afterSeq + n, record());
    head = headAfter(head, chained);
    records.push(chained);
  }
  if (head === undefined) return;
  heads.set(store, head);
  await store.audit.append({ afterSeq, records, heads: [head], lastSeq: head.lastSeq });
}

const chainOnly = (): void => {
  let head: ChainHead | undefined;
  for (let n = 1; n <= 500; n += 1) head = headAfter(head, chainRecord(head, n, record()));
};
const recordsOnly = (): void => {
  for (let n = 1; n <= 500; n += 1) JSON.stringify(record());
};

/** What one round does of each, and how many units that is. */
const contenders: Readonly<Record<string, readonly [number, (n: number) => unknown]>> = {
  'SQLite: better-sqlite3 insert': [1, () => insert.run(newMessageId(), id, 1)],
  'SQLite: Store': [
    1,
    async () => await sqliteStore.identity.insertHash(newMessageId(), { spiffeId: id, expiresAt: 1 }),
  ],
  'PostgreSQL: pg insert': [
    1,
    async () => await client.query('insert into t values ($1, $2, $3, 0)', [newMessageId(), id, 1]),
  ],
  'PostgreSQL: Store': [
    1,
    async () => await postgresStore.identity.insertHash(newMessageId(), { spiffeId: id, expiresAt: 1 }),
  ],
  'records without a chain': [500, recordsOnly],
  'records with the chain': [500, chainOnly],
  'trail into SQLite': [500, async () => await append(sqliteStore)],
  'trail into PostgreSQL': [500, async () => await append(postgresStore)],
  'a round trip to nats-server, nothing stored': [
    1,
    async () => await controlPlane.request('gb.bench', Buffer.alloc(0)).catch(() => undefined),
  ],
  'an intent, acknowledged': [1, async () => await trail.intent(fieldsOf(session))],
  'intents, 32 at once': [
    32,
    async () =>
      await Promise.all(Array.from({ length: 32 }, async () => await trail.intent(fieldsOf(session)))),
  ],
};
const pairs = [
  ['SQLite: Store', 'SQLite: better-sqlite3 insert'],
  ['PostgreSQL: Store', 'PostgreSQL: pg insert'],
  ['records with the chain', 'records without a chain'],
  ['an intent, acknowledged', 'a round trip to nats-server, nothing stored'],
] as const;

const each = new Map<string, number[]>();
const all = new Map<string, number[]>();
for (let round = 0; round < rounds; round += 1) {
  const names = Object.keys(contenders);
  for (const name of round % 2 === 0 ? names : names.reverse()) {
    const [units, work] = contenders[name] ?? [1, () => undefined];
    const repeats = units === 1 ? 100 : units === 32 ? 5 : 2;
    const began = performance.now();
    for (let n = 0; n < repeats; n += 1) {
      const at = performance.now();
      await work(n);
      all.set(name, [...(all.get(name) ?? []), (performance.now() - at) / units]);
    }
    each.set(name, [...(each.get(name) ?? []), (performance.now() - began) / (repeats * units)]);
  }
}

const rows = [...each].map(([name, times]) => {
  const pair = pairs.find(([one]) => one === name);
  const ratio = pair === undefined ? '' : `${pairedRatio(times, each.get(pair[1]) ?? []).toFixed(2)}×`;
  const late = quantile(all.get(name) ?? [], 0.95);
  return [
    name,
    (1000 / median(times)).toFixed(0),
    `${median(times).toFixed(3)} ms`,
    `${late.toFixed(3)} ms`,
    ratio,
  ];
});
process.stdout.write(
  `${table(['one after the other', 'per second', 'median', '95 of 100 within', 'to the bare one'], rows)}\n`,
);

for (const store of [sqliteStore, postgresStore]) await store.close();
bare.close();
await client.end();
await bus.close();
await server.close();
rmSync(folder, { recursive: true, force: true });
