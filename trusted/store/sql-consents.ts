import type { Kysely, Selectable } from 'kysely';
import {
  consentQuestion,
  type ConsentId,
  type ConsentQuestion,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { ConsentStore } from './consents.ts';
import type { ConsentTable, Tables } from './tables.ts';

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

const questionOf = (row: Selectable<ConsentTable>): ConsentQuestion => ({
  ...consentQuestion.parse(JSON.parse(row.shown)),
  state: consentQuestion.shape.state.parse(row.state),
  count: row.count,
});
