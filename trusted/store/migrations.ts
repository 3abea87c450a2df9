import { Migrator, sql, type Kysely, type Migration } from 'kysely';
import { GloveboxError } from '../../pure/contracts/index.ts';
import type { Tables } from './tables.ts';

const first: Migration = {
  async up(db) {
    await db.schema
      .createTable('sessions')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('sandbox_id', 'text', (c) => c.notNull().unique())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('command', 'text', (c) => c.notNull())
      .addColumn('workspace', 'text', (c) => c.notNull())
      .addColumn('workspace_mode', 'text', (c) => c.notNull())
      .addColumn('tier', 'text', (c) => c.notNull())
      .addColumn('user', 'text', (c) => c.notNull())
      .addColumn('preset', 'text')
      .addColumn('terminal', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text', (c) => c.notNull())
      .addColumn('policy', 'text', (c) => c.notNull())
      .addColumn('secrets', 'text', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('reason', 'text')
      .addColumn('exit_code', 'integer')
      .addColumn('exit_signal', 'integer')
      .addColumn('started_at', 'text')
      .addColumn('ended_at', 'text')
      .addColumn('detail', 'text')
      .addColumn('changes', 'text', (c) => c.notNull())
      .addColumn('weakened', 'text', (c) => c.notNull())
      .addColumn('limits', 'text', (c) => c.notNull())
      .addColumn('policy_generation', 'integer', (c) => c.notNull())
      .addColumn('turn_id', 'text')
      .addColumn('control_sequence', 'integer', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('sessions_by_name').on('sessions').columns(['name', 'created_at']).execute();
    await db.schema
      .createIndex('sessions_by_state')
      .on('sessions')
      .columns(['state', 'created_at'])
      .execute();
    await db.schema
      .createTable('consents')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('session_id', 'text', (c) => c.notNull().references('sessions.id'))
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text', (c) => c.notNull())
      .addColumn('count', 'integer', (c) => c.notNull())
      .addColumn('shown', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createIndex('consents_by_state')
      .on('consents')
      .columns(['state', 'expires_at'])
      .execute();
    await db.schema
      .createIndex('consents_by_session')
      .on('consents')
      .columns(['session_id', 'created_at'])
      .execute();
    await db.schema
      .createTable('grants')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('session_id', 'text', (c) => c.notNull().references('sessions.id'))
      .addColumn('user', 'text', (c) => c.notNull())
      .addColumn('scope', 'text', (c) => c.notNull())
      .addColumn('mode', 'text', (c) => c.notNull())
      .addColumn('challenge_id', 'text', (c) => c.notNull().references('consents.id'))
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('revoked_at', 'text')
      .execute();
    await db.schema.createIndex('grants_by_session').on('grants').column('session_id').execute();
    await db.schema
      .createTable('spent_tokens')
      .addColumn('jti', 'text', (c) => c.primaryKey())
      .addColumn('session_id', 'text', (c) => c.notNull().references('sessions.id'))
      .addColumn('spent_at', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('waivers')
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('user', 'text', (c) => c.notNull())
      .addColumn('at', 'text', (c) => c.notNull())
      .execute();
  },
};

const identity: Migration = {
  async up(db) {
    await db.schema
      .createTable('join_tokens')
      .addColumn('hash', 'text', (c) => c.primaryKey())
      .addColumn('spiffe_id', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull())
      .addColumn('used', 'integer', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('join_tokens_by_identity').on('join_tokens').column('spiffe_id').execute();
    await db.schema
      .createTable('serials')
      .addColumn('serial', 'text', (c) => c.primaryKey())
      .addColumn('lineage', 'text', (c) => c.notNull())
      .addColumn('spiffe_id', 'text', (c) => c.notNull())
      .addColumn('channel', 'text', (c) => c.notNull())
      .addColumn('not_after', 'bigint', (c) => c.notNull())
      .addColumn('renewed_at', 'bigint')
      .execute();
    await db.schema.createIndex('serials_by_lineage').on('serials').column('lineage').execute();
    await db.schema.createIndex('serials_by_identity').on('serials').column('spiffe_id').execute();
    await db.schema
      .createTable('revoked_lineages')
      .addColumn('lineage', 'text', (c) => c.primaryKey())
      .execute();
  },
};

const audit: Migration = {
  async up(db) {
    await db.schema
      .createTable('audit_records')
      .addColumn('seq', 'bigint', (c) => c.primaryKey())
      .addColumn('session', 'text', (c) => c.notNull())
      .addColumn('id', 'text', (c) => c.notNull())
      .addColumn('prev', 'text', (c) => c.notNull())
      .addColumn('hash', 'text', (c) => c.notNull())
      .addColumn('record', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createIndex('audit_records_by_session')
      .on('audit_records')
      .columns(['session', 'seq'])
      .execute();
    await db.schema
      .createIndex('audit_records_by_id')
      .on('audit_records')
      .columns(['session', 'id'])
      .execute();
    await db.schema
      .createTable('audit_heads')
      .addColumn('session', 'text', (c) => c.primaryKey())
      .addColumn('count', 'bigint', (c) => c.notNull())
      .addColumn('hash', 'text', (c) => c.notNull())
      .addColumn('last_seq', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('audit_progress')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('last_seq', 'bigint', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('audit_checkpoints')
      .addColumn('number', 'bigint', (c) => c.primaryKey())
      .addColumn('payload', 'text', (c) => c.notNull())
      .addColumn('token', 'text', (c) => c.notNull())
      .execute();
  },
};

const policyWritten: Migration = {
  async up(db) {
    await db.schema
      .alterTable('sessions')
      .addColumn('policy_written', 'integer', (c) => c.notNull().defaultTo(1))
      .execute();
  },
};

const settled: Migration = {
  async up(db) {
    // Of those that were before nothing is known, and nothing is to be done.
    await db.schema
      .alterTable('sessions')
      .addColumn('settled', 'integer', (c) => c.notNull().defaultTo(1))
      .execute();
  },
};

const replicas: Migration = {
  async up(db) {
    // Rows from before were written by the one control plane that there was.
    await db.schema
      .alterTable('sessions')
      .addColumn('replica', 'text', (c) => c.notNull().defaultTo(''))
      .execute();
    // Two transactions cannot see each other's open session of that name; the index does.
    await db.schema
      .createIndex('sessions_open_name')
      .unique()
      .on('sessions')
      .column('name')
      .where(sql.ref('state'), '!=', sql.lit('ended'))
      .execute();
    await db.schema.alterTable('grants').addColumn('expires_at', 'text').execute();
    await db.schema.alterTable('grants').addColumn('used_at', 'text').execute();
    await db.schema
      .createIndex('grants_by_key')
      .on('grants')
      .columns(['session_id', 'user', 'scope'])
      .execute();
    await db.schema
      .createTable('installation')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull())
      .execute();
  },
};

const retention: Migration = {
  async up(db) {
    await db.schema
      .createTable('audit_tombstone')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('number', 'bigint', (c) => c.notNull())
      .addColumn('tombstone', 'text', (c) => c.notNull())
      .execute();
  },
};

const turns: Migration = {
  async up(db) {
    await db.schema
      .createTable('turns')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('session_id', 'text', (c) => c.notNull().references('sessions.id'))
      .addColumn('user', 'text', (c) => c.notNull())
      .addColumn('opened_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text', (c) => c.notNull())
      .addColumn('ended_at', 'text')
      .execute();
    // At most one is open, for every replica: what two of them read at once the index sees.
    await db.schema
      .createIndex('turns_open')
      .unique()
      .on('turns')
      .column('session_id')
      .where(sql.ref('ended_at'), 'is', null)
      .execute();
    await db.schema.createIndex('turns_by_session').on('turns').columns(['session_id', 'user']).execute();
  },
};

const apiTokens: Migration = {
  async up(db) {
    await db.schema
      .createTable('api_tokens')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('user', 'text', (c) => c.notNull())
      .addColumn('scopes', 'text', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text', (c) => c.notNull())
      .addColumn('revoked_at', 'text')
      .execute();
  },
};

/** In order, for ever: a migration that was released is never changed. The names are what the database remembers. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-sessions-consents': first,
  '0002-identity': identity,
  '0003-audit': audit,
  '0004-policy-written': policyWritten,
  '0005-settled': settled,
  '0006-replicas': replicas,
  '0007-audit-retention': retention,
  '0010-turns': turns,
  '0011-api-tokens': apiTokens,
};

/** What this database has been through, and what this version would do to it; nothing is changed. */
export async function awaitedMigrations(
  db: Kysely<Tables>,
): Promise<{ readonly applied: readonly string[]; readonly awaited: readonly string[] }> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } });
  const all = await migrator.getMigrations();
  const names = (done: boolean): string[] =>
    all.filter(({ executedAt }) => (executedAt !== undefined) === done).map(({ name }) => name);
  return { applied: names(true), awaited: names(false) };
}

export async function migrate(db: Kysely<Tables>, place: string): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) {
    // Kysely refuses a database that remembers a migration this version has never heard of.
    throw new GloveboxError(
      'GB_STATE_REFUSED',
      {
        path: place,
        detail: error instanceof Error ? error.message : 'a migration failed',
        todo: 'Use the version of Glovebox that wrote it, or a newer one.',
      },
      { cause: error },
    );
  }
}
