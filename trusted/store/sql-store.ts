import { sql, type Kysely, type Transaction } from 'kysely';
import { GloveboxError } from '../../pure/contracts/index.ts';
import type { Replicas } from './replicas.ts';
import { SqlApiTokenStore } from './sql-api-tokens.ts';
import { SqlAuditStore } from './sql-audit.ts';
import { SqlConsentStore } from './sql-consents.ts';
import { SqlGrantStore } from './sql-grants.ts';
import { SqlIdentityStore } from './sql-identity.ts';
import { SqlSessionStore } from './sql-sessions.ts';
import { SqlTurnStore } from './sql-turns.ts';
import { SqlWaiverStore } from './sql-waivers.ts';
import type { Store } from './store.ts';
import type { Tables } from './tables.ts';

/** What the stores need of a database beside the SQL that all of them speak. */
export interface SqlDialect {
  /** What a person knows it by. */
  readonly place: string;
  readonly replicas: Replicas;
  /** Until the transaction ends nobody else decides about these lineages. */
  holdLineages(transaction: Transaction<Tables>, lineages: readonly string[]): Promise<void>;
  /** In the same transaction as the revocation: other replicas hear of it when it is so, and only then. */
  tellRevoked(transaction: Transaction<Tables>): Promise<void>;
  close(): Promise<void>;
}

export function sqlStore(db: Kysely<Tables>, dialect: SqlDialect): Store {
  return {
    sessions: new SqlSessionStore(db),
    consents: new SqlConsentStore(db),
    grants: new SqlGrantStore(db),
    turns: new SqlTurnStore(db),
    apiTokens: new SqlApiTokenStore(db),
    waivers: new SqlWaiverStore(db),
    identity: new SqlIdentityStore(db, dialect),
    audit: new SqlAuditStore(db),
    replicas: dialect.replicas,
    claim: async (installation) => await claim(db, dialect.place, installation),
    close: async () => await dialect.close(),
  };
}

/** Two installations have two signers: what one of them wrote would be refused, or reaped, by the other. */
async function claim(db: Kysely<Tables>, path: string, installation: string): Promise<void> {
  await db
    .insertInto('installation')
    .values({ id: 1, name: installation })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  const owner = await db
    .selectFrom('installation')
    .select('name')
    .where('id', '=', sql.lit(1))
    .executeTakeFirstOrThrow();
  if (owner.name === installation) return;
  throw new GloveboxError('GB_STATE_REFUSED', {
    path,
    detail: 'it belongs to another installation of Glovebox',
    todo: 'Give each installation a database of its own.',
  });
}
