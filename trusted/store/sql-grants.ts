import type { Kysely, Selectable } from 'kysely';
import {
  asConsentId,
  asGrantId,
  asSessionId,
  asUserId,
  consentMode,
  type GrantId,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { Grant, GrantKey, GrantStore } from './consents.ts';
import type { GrantTable, Tables } from './tables.ts';

export class SqlGrantStore implements GrantStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async redeem(jti: string, grant: Grant): Promise<boolean> {
    return await this.#db.transaction().execute(async (transaction) => {
      // The primary key decides the race, in every database: of 100 inserts one is there (R6, R37).
      const spent = await transaction
        .insertInto('spent_tokens')
        .values({ jti, session_id: grant.sessionId, spent_at: grant.createdAt })
        .onConflict((conflict) => conflict.column('jti').doNothing())
        .returning('jti')
        .executeTakeFirst();
      if (spent === undefined) return false;
      await transaction
        .insertInto('grants')
        .values({
          id: grant.id,
          session_id: grant.sessionId,
          user: grant.user,
          scope: grant.scope,
          mode: grant.mode,
          challenge_id: grant.challengeId,
          created_at: grant.createdAt,
          revoked_at: grant.revokedAt,
          expires_at: grant.expiresAt,
          used_at: grant.usedAt,
        })
        .execute();
      return true;
    });
  }

  async use(key: GrantKey, at: string): Promise<Grant | undefined> {
    let query = this.#db
      .selectFrom('grants')
      .selectAll()
      .where('session_id', '=', key.sessionId)
      .where('user', '=', key.user)
      .where('scope', '=', key.scope);
    if (key.id !== undefined) query = query.where('id', '=', key.id);
    const rows = await query
      .where('used_at', 'is', null)
      .where('revoked_at', 'is', null)
      .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', at)]))
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    // One for the session serves without being spent, so a once-grant beside it is kept.
    const standing = rows.find((row) => row.mode === 'session');
    if (standing !== undefined) return grantOf(standing);
    for (const row of rows) {
      // What the look above saw may be gone: only the row that this statement changes is ours [R37].
      const taken = await this.#db
        .updateTable('grants')
        .set({ used_at: at })
        .where('id', '=', row.id)
        .where('used_at', 'is', null)
        .where('revoked_at', 'is', null)
        .returningAll()
        .executeTakeFirst();
      if (taken !== undefined) return grantOf(taken);
    }
    return undefined;
  }

  async get(id: GrantId): Promise<Grant | undefined> {
    const row = await this.#db.selectFrom('grants').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : grantOf(row);
  }

  async listOf(session: SessionId): Promise<readonly Grant[]> {
    const rows = await this.#db
      .selectFrom('grants')
      .selectAll()
      .where('session_id', '=', session)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(grantOf);
  }

  async list({
    openAt,
    limit,
  }: {
    readonly openAt: string | null;
    readonly limit: number;
  }): Promise<readonly Grant[]> {
    let query = this.#db.selectFrom('grants').selectAll();
    if (openAt !== null)
      query = query
        .where('used_at', 'is', null)
        .where('revoked_at', 'is', null)
        .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', openAt)]));
    const rows = await query.orderBy('created_at', 'desc').orderBy('id').limit(limit).execute();
    return rows.map(grantOf);
  }

  async onceOnly(session: SessionId): Promise<number> {
    const result = await this.#db
      .updateTable('grants')
      .set({ mode: 'once' })
      .where('session_id', '=', session)
      .where('mode', '=', 'session')
      .where('used_at', 'is', null)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return Number(result.numUpdatedRows);
  }

  async revokeOf(session: SessionId, at: string, only?: readonly GrantId[]): Promise<number> {
    if (only?.length === 0) return 0;
    let query = this.#db
      .updateTable('grants')
      .set({ revoked_at: at })
      .where('session_id', '=', session)
      .where('revoked_at', 'is', null);
    if (only !== undefined) query = query.where('id', 'in', [...only]);
    return Number((await query.executeTakeFirst()).numUpdatedRows);
  }
}

const grantOf = (row: Selectable<GrantTable>): Grant => ({
  id: asGrantId(row.id),
  sessionId: asSessionId(row.session_id),
  user: asUserId(row.user),
  scope: row.scope,
  mode: consentMode.parse(row.mode),
  challengeId: asConsentId(row.challenge_id),
  createdAt: row.created_at,
  revokedAt: row.revoked_at,
  expiresAt: row.expires_at,
  usedAt: row.used_at,
});
