import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Kysely, Migrator, PostgresDialect } from 'kysely';
import { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  asConsentId,
  asGrantId,
  defaultTrustDomain,
  spiffeId,
  type StoreSetting,
} from '../../pure/contracts/index.ts';
import { newborn } from '../../pure/session/index.ts';
import { openPostgresStore, type Store } from '../../trusted/store/index.ts';
import {
  migrationsUpTo,
  olderSchemas,
  startPostgres,
  type PostgresServer,
} from '../../trusted/store/testing.ts';
import { grant, idOf, origin, question } from './store-contract.ts';

let server: PostgresServer;
let setting: StoreSetting;
const open: Store[] = [];
const at = '2026-11-01T00:00:00.000Z';

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => await server.close());
beforeEach(async () => {
  setting = await server.database();
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});

const openOne = async (): Promise<Store> => {
  const store = await openPostgresStore(setting);
  open.push(store);
  return store;
};

/** Four processes, 25 tries each, begun together. */
async function race(kind: 'grant' | 'join', name: string): Promise<number> {
  const script = `${import.meta.dirname}/racing-process.ts`;
  const racers = Array.from({ length: 4 }, () => {
    const words = ['--import', 'tsx', script, JSON.stringify(setting), kind, name, '25'];
    const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  for (const { lines } of racers) expect((await lines.next()).value).toBe('ready');
  for (const { child } of racers) child.stdin.write('go\n');
  let won = 0;
  for (const { child, lines } of racers) {
    won += Number(/^won (\d+)$/.exec(String((await lines.next()).value))?.[1]);
    if (child.exitCode === null) await once(child, 'exit');
  }
  return won;
}

describe('several processes on one PostgreSQL', () => {
  it('[R37] of 100 uses of a once-grant by four processes exactly one wins', async () => {
    const store = await openOne();
    const { id } = await store.sessions.insert(origin(1), newborn);
    await store.consents.insert(question(20, id));
    await store.grants.redeem('t', grant(30, id, idOf(20)));
    expect(await race('grant', id)).toBe(1);
    expect((await store.grants.get(asGrantId(idOf(30))))?.usedAt).toBe(at);
  });

  it('[R6] of 100 uses of a join token by four processes exactly one wins', async () => {
    const store = await openOne();
    const id = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
    await store.identity.insertHash('token', { spiffeId: id, expiresAt: 60_000 });
    expect(await race('join', 'token')).toBe(1);
    expect(await store.identity.consumeHash('token')).toEqual({ state: 'used' });
  });

  it('[R4] a certificate that is renewed as its lineage is revoked is revoked too, and named', async () => {
    const [store, second] = [await openOne(), await openOne()];
    const id = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
    for (let round = 0; round < 30; round += 1) {
      const serial = (name: string) => ({
        serial: `${name}${round}`,
        spiffeId: id,
        channel: 'workload-api' as const,
        notAfter: 300_000,
      });
      await store.identity.beginLineage(`l${round}`, serial('a'));
      const [renewed, revoked] = await Promise.all([
        store.identity.renewSerial(`a${round}`, serial('b'), 1),
        second.identity.revokeLineage(`l${round}`, 1),
      ]);
      // Either the renewal came too late, or the one who revoked was told of what it made.
      if (renewed.state === 'renewed') expect([...revoked].sort()).toEqual([`a${round}`, `b${round}`]);
      else expect(await store.identity.findSerial(`b${round}`)).toBeUndefined();
    }
  });

  it('[R4] a revocation is heard of by the other replica', async () => {
    const [store, second] = [await openOne(), await openOne()];
    const heard = new Promise<void>((resolve) => second.replicas.onRevocation(resolve));
    // Its ear is on the same connection as its leases: when one is taken it listens.
    await (await second.replicas.tryTake('ear'))?.release();
    const id = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
    await store.identity.beginLineage('l1', {
      serial: 'a1',
      spiffeId: id,
      channel: 'workload-api',
      notAfter: 300_000,
    });
    await store.identity.revokeLineage('l1', 1);
    await heard;
    expect(await second.identity.revokedSerials(1)).toEqual(['a1']);
  });

  it('[R41] two writers that build upon the same end of the trail: one is refused, whole', async () => {
    const [store, second] = [await openOne(), await openOne()];
    const batch = {
      afterSeq: 0,
      records: [],
      heads: [{ session: 'system', count: 1, hash: 'aa', lastSeq: 1 }],
    };
    const written = await Promise.allSettled([
      store.audit.append({ ...batch, lastSeq: 1 }),
      second.audit.append({ ...batch, lastSeq: 2 }),
    ]);
    const refused = written.filter((one) => one.status === 'rejected');
    expect(refused).toHaveLength(1);
    expect(refused[0]?.reason).toMatchObject({ code: 'GB_STORE_CONFLICT' });
    expect(await store.audit.heads()).toHaveLength(1);
  });
});

describe('the server ends', () => {
  it('[R46] what was acknowledged is there after a crash; leases are lost, said to be, and had again', async () => {
    const store = await openOne();
    const { id } = await store.sessions.insert(origin(1), newborn);
    await store.consents.insert(question(20, id));
    await store.grants.redeem('t', grant(30, id, idOf(20)));
    const lease = await store.replicas.tryTake('audit-writer');
    const lost = new Promise((resolve) => lease?.lost.addEventListener('abort', resolve));
    await server.crash();
    await lost;
    await expect(store.sessions.countOpen()).rejects.toMatchObject({ code: 'GB_STORE_UNAVAILABLE' });
    await server.start();
    expect(await store.grants.redeem('t', grant(31, id, idOf(20)))).toBe(false);
    expect(await store.consents.get(asConsentId(idOf(20)))).toBeDefined();
    expect(await store.replicas.tryTake('audit-writer')).toBeDefined();
  });

  it('a connection that the server ends is an error of that statement, and the next one works', async () => {
    const store = await openOne();
    await store.sessions.countOpen();
    const end = `select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()`;
    await server.query(setting, end);
    await store.sessions.countOpen().catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'GB_STORE_UNAVAILABLE' });
    });
    expect(await store.sessions.countOpen()).toBe(0);
  });

  it('[R42] a server that acknowledges what is not on its disk is refused', async () => {
    const name = new URL(setting.url).pathname.slice(1);
    await server.query(setting, `alter database ${name} set synchronous_commit = off`);
    await expect(openPostgresStore(setting)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    await server.query(setting, `alter database ${name} reset synchronous_commit`);
    await openOne();
  });
});

describe('migrations', () => {
  it('lead forward from every older schema, and keep what is there', async () => {
    for (const last of olderSchemas) {
      setting = await server.database();
      const { pathname, searchParams } = new URL(setting.url);
      const pool = new Pool({
        host: searchParams.get('host') ?? '',
        user: 'owner',
        database: pathname.slice(1),
      });
      const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
      const provider = { getMigrations: async () => migrationsUpTo(last) };
      expect((await new Migrator({ db, provider }).migrateToLatest()).error).toBeUndefined();
      await db.destroy();
      await server.query(
        setting,
        `insert into waivers (name, "user", at) values ('apparmor', 'alice', '${at}')`,
      );
      const store = await openOne();
      expect(await store.waivers.list()).toHaveLength(1);
      expect(await store.sessions.insert(origin(1), newborn)).toMatchObject({ replica: 'one' });
    }
  });

  it('a database of a newer version is refused, and works again without it', async () => {
    await openOne();
    await server.query(
      setting,
      `insert into kysely_migration (name, timestamp) values ('9999-later', '2030-01-01')`,
    );
    await expect(openPostgresStore(setting)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    await server.query(setting, `delete from kysely_migration where name = '9999-later'`);
    await openOne();
  });

  it('run once when two replicas start at the same time on an empty database', async () => {
    const [one, two] = await Promise.all([openOne(), openOne(), openOne(), openOne()]);
    await one.sessions.insert(origin(1), newborn);
    expect(await two.sessions.countOpen()).toBe(1);
  });
});

describe('the login', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'glovebox-login-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('a password comes from a file that is its owner’s alone', async () => {
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'correct horse\n', { mode: 0o644 });
    chmodSync(passwordFile, 0o644);
    await expect(openPostgresStore({ ...setting, passwordFile })).rejects.toMatchObject({
      code: 'GB_STATE_REFUSED',
    });
    chmodSync(passwordFile, 0o600);
    open.push(await openPostgresStore({ ...setting, passwordFile }));
  });

  it('a server that is not there is named, without a login', async () => {
    const url = `postgresql:///store?host=${encodeURIComponent(folder)}&user=alice`;
    await expect(openPostgresStore({ version: 1, url, passwordFile: null })).rejects.toMatchObject({
      code: 'GB_STORE_UNAVAILABLE',
      message: expect.not.stringContaining('alice'),
    });
  });

  it('nothing of it comes from the environment', async () => {
    const before = { ...process.env };
    Object.assign(process.env, {
      PGUSER: 'mallory',
      PGHOST: 'elsewhere.invalid',
      PGDATABASE: 'other',
      PGPASSWORD: 'x',
    });
    try {
      const store = await openOne();
      await store.sessions.countOpen();
      const users = await server.query(
        setting,
        'select distinct usename as user from pg_stat_activity where datname = current_database()',
      );
      expect(users).toEqual([{ user: 'owner' }]);
    } finally {
      for (const name of ['PGUSER', 'PGHOST', 'PGDATABASE', 'PGPASSWORD']) {
        const old = before[name];
        if (old === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = old;
      }
    }
  });
});
