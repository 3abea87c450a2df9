import type SQLite from 'better-sqlite3';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * A copy of the database as it is, before a migration changes it: whole, and readable by the version that wrote it. It is named by
 * the last migration that it has, so that a start which was killed amid a migration and tried again keeps the first copy.
 */
export function backUp(sqlite: SQLite.Database, file: string, last: string): void {
  const folder = join(dirname(file), 'backups');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const copy = join(folder, `${basename(file, '.db')}-${last}.db`);
  if (existsSync(copy)) return;
  sqlite.prepare('VACUUM INTO ?').run(copy);
  chmodSync(copy, 0o600);
}
