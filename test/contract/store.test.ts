import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import SQLite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockState, openSqliteStore, openStateFolder } from '../../trusted/store/index.ts';
import { grantUseContract } from './grant-use-contract.ts';
import { storeContract, type OpenedStore } from './store-contract.ts';

async function openSqlite(): Promise<OpenedStore> {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-store-'));
  const file = join(folder, 'control-plane.db');
  let store = await openSqliteStore(file);
  return {
    store,
    get second() {
      return store;
    },
    restart: async () => {
      await store.close();
      store = await openSqliteStore(file);
      return store;
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

storeContract('SQLite', openSqlite);
grantUseContract('SQLite', openSqlite);

describe('the state folder', () => {
  let folder: string;
  let root: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'glovebox-state-'));
    root = join(folder, 'state');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is made closed to all others, and opens again', async () => {
    const made = await openStateFolder(root);
    for (const path of [made.root, made.keys, made.secrets, made.sessions, made.nats]) {
      expect(statSync(path).mode & 0o777).toBe(0o700);
    }
    await expect(openStateFolder(root)).resolves.toEqual(made);
  });

  it('is refused when others may look into it, and is left as it is', async () => {
    await openStateFolder(root);
    chmodSync(root, 0o750);
    await expect(openStateFolder(root)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    expect(statSync(root).mode & 0o777).toBe(0o750);
    chmodSync(root, 0o700);
    await expect(openStateFolder(root)).resolves.toBeDefined();
    chmodSync(join(root, 'secrets'), 0o701);
    await expect(openStateFolder(root)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
  });

  it('is refused when a link lies in its place', async () => {
    mkdirSync(join(folder, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(folder, 'elsewhere'), root);
    await expect(openStateFolder(root)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
  });

  it('is refused when another version wrote it', async () => {
    await openStateFolder(root);
    for (const version of ['2\n', '0\n', 'one\n', '']) {
      writeFileSync(join(root, 'VERSION'), version);
      await expect(openStateFolder(root)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    }
    writeFileSync(join(root, 'VERSION'), '1\n');
    await expect(openStateFolder(root)).resolves.toBeDefined();
  });

  it('a database with a migration of a newer version is refused, and works again without it', async () => {
    const file = join(folder, 'control-plane.db');
    await (await openSqliteStore(file)).close();
    const raw = new SQLite(file);
    raw
      .prepare('insert into kysely_migration (name, timestamp) values (?, ?)')
      .run('9999-later', '2030-01-01');
    await expect(openSqliteStore(file)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    raw.prepare('delete from kysely_migration where name = ?').run('9999-later');
    raw.close();
    await (await openSqliteStore(file)).close();
  });

  it('commits are synced: WAL with synchronous FULL, foreign keys on', async () => {
    const file = join(folder, 'control-plane.db');
    const store = await openSqliteStore(file);
    const raw = new SQLite(file, { readonly: true });
    expect(raw.pragma('journal_mode', { simple: true })).toBe('wal');
    raw.close();
    await store.close();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('has one owner: a second one is refused with the number of the first, and may come when that has gone', () => {
    mkdirSync(root, { mode: 0o700 });
    const lock = lockState(root);
    expect(() => lockState(root)).toThrow(expect.objectContaining({ code: 'GB_ALREADY_RUNNING' }));
    try {
      lockState(root);
    } catch (error) {
      expect(String(error)).toContain(String(process.pid));
    }
    lock.release();
    lockState(root).release();
  });
});
