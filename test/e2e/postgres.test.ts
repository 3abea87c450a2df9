import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoreSetting } from '../../pure/contracts/index.ts';
import { startPostgres, type PostgresServer } from '../../trusted/store/testing.ts';
import { isAlive } from './remains.ts';
import { until } from './until.ts';
import { World } from './world.ts';

let server: PostgresServer;
let setting: StoreSetting;
let world: World;

beforeAll(async () => {
  server = await startPostgres();
  setting = await server.database();
  world = new World();
  const { code, err } = await world.glovebox(['up', '--store', setting.url]);
  if (code !== 0) throw new Error(err);
  await world.waive();
});
afterAll(async () => {
  await world.close();
  await server.close();
});

const count = async (table: string): Promise<number> =>
  Number((await server.query(setting, `select count(*) as n from ${table}`))[0]?.['n']);

describe('Glovebox on PostgreSQL', () => {
  it('runs a command; sessions and the audit trail are in the database, and nothing in SQLite', async () => {
    expect(await world.glovebox(['run', '--name', 'first', '--', 'echo', 'hello'])).toMatchObject({
      code: 0,
      out: 'hello\n',
    });
    expect((await world.session('first')).state).toBe('ended');
    expect(await count('sessions')).toBe(1);
    await until('its records are stored', async () => (await count('audit_records')) > 0);
    expect(existsSync(join(world.state, 'control-plane.db'))).toBe(false);
    expect(statSync(join(world.state, 'store.json')).mode & 0o777).toBe(0o600);
  });

  it('the trail of the database verifies', async () => {
    const keys = join(world.folder, 'keys.json');
    writeFileSync(keys, (await world.glovebox(['audit', 'keys'])).out);
    const exported = join(world.folder, 'audit.jsonl');
    writeFileSync(exported, (await world.glovebox(['audit', 'export'])).out);
    const verified = await world.glovebox(['audit', 'verify', exported, '--keys', keys, '--json']);
    expect(JSON.parse(verified.out)).toMatchObject({ ok: true, uncovered: 0 });
  });

  it('[R46] the database dies and comes back: a session lives on, and the next one begins', async () => {
    const run = world.start(['run', '--name', 'through', '--', 'sh', '-c', 'echo begun; cat; echo over']);
    let out = '';
    run.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
    const closed = new Promise((resolve) => run.once('close', resolve));
    await until('it runs', () => out.includes('begun'), 180_000);
    const daemon = await world.daemon();
    await server.crash();
    const refused = await world.glovebox(['run', '--', 'true']);
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain('The store');
    await server.start();
    expect(isAlive(daemon)).toBe(true);
    run.stdin?.end();
    await closed;
    expect(out).toContain('over');
    const next = await until(
      'a session begins',
      async () => {
        const ran = await world.glovebox(['run', '--', 'echo', 'again']);
        return ran.code === 0 && ran;
      },
      180_000,
    );
    expect(next.out).toBe('again\n');
  });

  it('[R46] the control plane dies: what it left open is ended by the next one, from the database', async () => {
    const run = world.start(['run', '--name', 'left', '--', 'sh', '-c', 'echo begun; sleep 1000']);
    let out = '';
    run.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
    const closed = new Promise((resolve) => run.once('close', resolve));
    await until('it runs', () => out.includes('begun'), 180_000);
    process.kill(await world.daemon(), 'SIGKILL');
    await closed;
    await world.daemon();
    expect(await world.session('left')).toMatchObject({ state: 'ended', reason: 'daemon-died' });
  });

  it('another installation does not get the database, and this one keeps it', async () => {
    const other = new World();
    try {
      const { code, err } = await other.glovebox(['up', '--store', setting.url]);
      expect(code).toBe(78);
      expect(err).toContain('another installation');
    } finally {
      await other.close();
    }
    expect((await world.glovebox(['run', '--', 'true'])).code).toBe(0);
  });

  it('a state that has a store gets no other one', async () => {
    const file = join(world.state, 'store.json');
    const before = readFileSync(file, 'utf8');
    const { url } = await server.database();
    expect(await world.glovebox(['up', '--store', url])).toMatchObject({ code: 64 });
    expect(await world.glovebox(['up', '--store', setting.url])).toMatchObject({ code: 0 });
    expect(readFileSync(file, 'utf8')).toBe(before);
    // What does not say where the store is must not be read as "begin an empty one".
    await world.glovebox(['down']);
    writeFileSync(file, '{}');
    expect(await world.glovebox(['up'])).toMatchObject({ code: 78 });
    writeFileSync(file, before);
    expect(await world.glovebox(['up'])).toMatchObject({ code: 0 });
    expect(existsSync(join(world.state, 'control-plane.db'))).toBe(false);
  });
});
