import { Kysely, PostgresDialect, sql } from 'kysely';
import { GloveboxError, parseStoreUrl, type StoreSetting } from '../../../pure/contracts/index.ts';
import { migrate } from '../migrations.ts';
import { sqlStore } from '../sql-store.ts';
import type { Store } from '../store.ts';
import type { Tables } from '../tables.ts';
import { loginOf } from './login.ts';
import { lineageClass, PgReplicas, revocationChannel } from './pg-replicas.ts';
import { openPool, unavailable } from './pool.ts';

/** All that is special to PostgreSQL. What is acknowledged is on its disk, or it is not opened (R42). */
export async function openPostgresStore(setting: StoreSetting): Promise<Store> {
  const place = placeOf(setting);
  const login = await loginOf(setting);
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: openPool(login, place) }) });
  try {
    await requireDurable(db, place);
    await migrate(db, place);
  } catch (error) {
    await db.destroy();
    throw error instanceof GloveboxError ? error : unavailable(error, place);
  }
  const replicas = new PgReplicas(login);
  return sqlStore(db, {
    place,
    replicas,
    holdLineages: async (transaction, lineages) => {
      // In one order, so that two revocations of the same lineages do not wait for each other.
      for (const lineage of [...lineages].sort())
        await sql`select pg_advisory_xact_lock(${sql.lit(lineageClass)}, hashtext(${lineage}))`.execute(
          transaction,
        );
    },
    tellRevoked: async (transaction) => {
      await sql`select pg_notify(${revocationChannel}, '')`.execute(transaction);
    },
    close: async () => {
      await replicas.close();
      await db.destroy();
    },
  });
}

/** As it is shown: where, and never by what login. */
function placeOf(setting: StoreSetting): string {
  const { host, port, database } = parseStoreUrl(setting.url);
  return `PostgreSQL ${database} at ${host}:${port}`;
}

const oldest = 140_000;

async function requireDurable(db: Kysely<Tables>, path: string): Promise<void> {
  const { rows } = await sql<{ version: string; fsync: string; commit: string }>`
    select current_setting('server_version_num') as version, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as commit`.execute(db);
  const [row] = rows;
  const detail =
    row === undefined || Number(row.version) < oldest
      ? 'the server is older than PostgreSQL 14'
      : row.fsync !== 'on' || row.commit === 'off'
        ? 'the server acknowledges what is not on its disk (fsync or synchronous_commit is off)'
        : undefined;
  if (detail !== undefined) {
    throw new GloveboxError('GB_STATE_REFUSED', {
      path,
      detail,
      todo: 'Change it in the server, for this database.',
    });
  }
}
