import type { Kysely, Selectable } from 'kysely';
import {
  asConsentId,
  asGrantId,
  asSessionId,
  asUserId,
  consentMode,
  consentQuestion,
  type ConsentId,
  type ConsentQuestion,
  type GrantId,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { ConsentStore, Grant, GrantStore } from './consents.ts';
import type { ConsentTable, GrantTable, Tables } from './tables.ts';

export class SqlConsentStore implements ConsentStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(question: ConsentQuestion): Promise<void> {
    await this.#db
      .insertInto('consents')
      .values({
        id: question.id,
        session_id: question.sessionId,
        state: question.state,
        created_at: question.createdAt,
        expires_at: question.expiresAt,
        count: question.count,
        shown: JSON.stringify(question),
      })
      .execute();
  }

  async get(id: ConsentId): Promise<ConsentQuestion | undefined> {
    const row = await this.#db.selectFrom('consents').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : questionOf(row);
  }

  async list(filter: {
    readonly pendingOnly: boolean;
    readonly limit: number;
  }): Promise<readonly ConsentQuestion[]> {
    let query = this.#db.selectFrom('consents').selectAll();
    if (filter.pendingOnly) query = query.where('state', '=', 'pending');
    const rows = await query.orderBy('created_at', 'desc').orderBy('id').limit(filter.limit).execute();
    return rows.map(questionOf);
  }

  async pendingOf(session: SessionId): Promise<readonly ConsentQuestion[]> {
    const rows = await this.#db
      .selectFrom('consents')
      .selectAll()
      .where('session_id', '=', session)
      .where('state', '=', 'pending')
      .execute();
    return rows.map(questionOf);
  }

  async countSince(session: SessionId, since: string): Promise<number> {
    const row = await this.#db
      .selectFrom('consents')
      .select((e) => e.fn.sum('count').as('asked'))
      .where('session_id', '=', session)
      .where('created_at', '>=', since)
      .executeTakeFirst();
    return Number(row?.asked ?? 0);
  }

  async fold(id: ConsentId): Promise<void> {
    await this.#db
      .updateTable('consents')
      .set((e) => ({ count: e('count', '+', 1) }))
      .where('id', '=', id)
      .where('state', '=', 'pending')
      .execute();
  }

  async answer(id: ConsentId, state: 'approved' | 'denied' | 'expired'): Promise<boolean> {
    const result = await this.#db
      .updateTable('consents')
      .set({ state })
      .where('id', '=', id)
      .where('state', '=', 'pending')
      .executeTakeFirst();
    return result.numUpdatedRows === 1n;
  }

  async overdue(now: string): Promise<readonly ConsentQuestion[]> {
    const rows = await this.#db
      .selectFrom('consents')
      .selectAll()
      .where('state', '=', 'pending')
      .where('expires_at', '<=', now)
      .execute();
    return rows.map(questionOf);
  }
}

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
        })
        .execute();
      return true;
    });
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

const questionOf = (row: Selectable<ConsentTable>): ConsentQuestion => ({
  ...consentQuestion.parse(JSON.parse(row.shown)),
  state: consentQuestion.shape.state.parse(row.state),
  count: row.count,
});

const grantOf = (row: Selectable<GrantTable>): Grant => ({
  id: asGrantId(row.id),
  sessionId: asSessionId(row.session_id),
  user: asUserId(row.user),
  scope: row.scope,
  mode: consentMode.parse(row.mode),
  challengeId: asConsentId(row.challenge_id),
  createdAt: row.created_at,
  revokedAt: row.revoked_at,
});
