import SQLite from 'better-sqlite3';
import { Kysely, Migrator, SqliteDialect } from 'kysely';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { migrations } from '../migrations.ts';
import { openSqliteStore } from './open-sqlite.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A database as an older version left it: through the first `count` migrations, with a waiver in it. */
async function olderState(count: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-upgrade-'));
  folders.push(folder);
  const file = join(folder, 'control-plane.db');
  const db = new Kysely<Record<string, Record<string, string>>>({
    dialect: new SqliteDialect({ database: new SQLite(file) }),
  });
  const known = Object.fromEntries(Object.entries(migrations).slice(0, count));
  await new Migrator({ db, provider: { getMigrations: async () => known } }).migrateToLatest();
  await db.insertInto('waivers').values({ name: 'apparmor', user: 'local/1', at: '2026-01-01' }).execute();
  await db.destroy();
  return file;
}
const backups = (file: string): string[] => {
  const folder = join(file, '../backups');
  return existsSync(folder) ? readdirSync(folder) : [];
};
const read = (file: string, sql: string): unknown => {
  const database = new SQLite(file, { readonly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
};

describe('a state that an older version wrote', () => {
  const older = Object.keys(migrations).length - 1;

  it('is copied before it is migrated, and kept through the migration', async () => {
    const file = await olderState(older);
    const store = await openSqliteStore(file);
    expect(await store.waivers.list()).toMatchObject([{ name: 'apparmor', user: 'local/1' }]);
    await store.close();
    const [copy = '', ...others] = backups(file);
    expect(others).toEqual([]);
    const place = join(file, '../backups', copy);
    expect(statSync(place).mode & 0o777).toBe(0o600);
    expect(read(place, 'select name from waivers')).toEqual([{ name: 'apparmor' }]);
    // As it was: the older version would open it.
    expect(read(place, 'select name from kysely_migration')).toHaveLength(older);
    expect(read(file, 'select name from kysely_migration')).toHaveLength(older + 1);
  });

  it('is not copied again, nor is one that needs no migration, nor a new one', async () => {
    const file = await olderState(older + 1);
    await (await openSqliteStore(file)).close();
    expect(backups(file)).toEqual([]);
    const fresh = join(file, '../fresh.db');
    await (await openSqliteStore(fresh)).close();
    expect(backups(fresh)).toEqual([]);
  });
});

describe('a state that a newer version wrote', () => {
  it('is refused, and nothing of it is changed', async () => {
    const file = await olderState(Object.keys(migrations).length);
    const database = new SQLite(file);
    database.prepare('insert into kysely_migration values (?, ?)').run('9999-future', '2030-01-01');
    database.close();
    const before = read(file, 'select * from kysely_migration');
    await expect(openSqliteStore(file)).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
    expect(read(file, 'select * from kysely_migration')).toEqual(before);
    expect(backups(file)).toEqual([]);
  });
});
