import SQLite from 'better-sqlite3';
import { chmodSync, existsSync } from 'node:fs';
import { Kysely, SqliteDialect } from 'kysely';
import { awaitedMigrations, migrate } from '../migrations.ts';
import { backUp } from './back-up.ts';
import { SoleReplica } from '../replicas.ts';
import { sqlStore } from '../sql-store.ts';
import type { Store } from '../store.ts';
import type { Tables } from '../tables.ts';

/** All that is special to SQLite. What is acknowledged is on the disk: FULL syncs the log at every commit (R42). */
export async function openSqliteStore(file: string): Promise<Store> {
  const fresh = !existsSync(file);
  const sqlite = new SQLite(file);
  if (fresh) chmodSync(file, 0o600);
  sqlite.pragma('journal_mode = WAL');
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  sqlite.pragma('busy_timeout = 5000');
  sqlite.pragma('trusted_schema = OFF');
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: sqlite }) });
  try {
    const { applied, awaited } = await awaitedMigrations(db);
    if (applied.length > 0 && awaited.length > 0) backUp(sqlite, file, applied.at(-1) ?? '');
    await migrate(db, file);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return sqlStore(db, {
    place: file,
    replicas: new SoleReplica(),
    // One connection, one process: transactions follow one another anyway.
    holdLineages: () => Promise.resolve(),
    tellRevoked: () => Promise.resolve(),
    close: async () => await db.destroy(),
  });
}
