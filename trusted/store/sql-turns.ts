import type { Kysely, Selectable } from 'kysely';
import {
  asSessionId,
  asTurnId,
  asUserId,
  type SessionId,
  type TurnId,
  type UserId,
} from '../../pure/contracts/index.ts';
import type { Tables, TurnTable } from './tables.ts';
import type { TurnRecord, TurnStore } from './turns.ts';

export class SqlTurnStore implements TurnStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async open(turn: Omit<TurnRecord, 'endedAt'>): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      await transaction
        .updateTable('turns')
        .set({ ended_at: turn.openedAt })
        .where('session_id', '=', turn.sessionId)
        .where('ended_at', 'is', null)
        .execute();
      // Where somebody else opens one at the same moment, the index `turns_open` refuses the second.
      await transaction
        .insertInto('turns')
        .values({
          id: turn.id,
          session_id: turn.sessionId,
          user: turn.user,
          opened_at: turn.openedAt,
          expires_at: turn.expiresAt,
          ended_at: null,
        })
        .execute();
    });
  }

  async end(id: TurnId, at: string): Promise<boolean> {
    const result = await this.#db
      .updateTable('turns')
      .set({ ended_at: at })
      .where('id', '=', id)
      .where('ended_at', 'is', null)
      .executeTakeFirst();
    return result.numUpdatedRows === 1n;
  }

  async endOf(session: SessionId, at: string): Promise<void> {
    await this.#db
      .updateTable('turns')
      .set({ ended_at: at })
      .where('session_id', '=', session)
      .where('ended_at', 'is', null)
      .execute();
  }

  async get(id: TurnId): Promise<TurnRecord | undefined> {
    const row = await this.#db.selectFrom('turns').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : turnOf(row);
  }

  async openOf(session: SessionId): Promise<TurnRecord | undefined> {
    const row = await this.#db
      .selectFrom('turns')
      .selectAll()
      .where('session_id', '=', session)
      .where('ended_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? undefined : turnOf(row);
  }

  async participantsOf(session: SessionId): Promise<readonly UserId[]> {
    const rows = await this.#db
      .selectFrom('turns')
      .select('user')
      .distinct()
      .where('session_id', '=', session)
      .orderBy('user')
      .execute();
    return rows.map(({ user }) => asUserId(user));
  }
}

const turnOf = (row: Selectable<TurnTable>): TurnRecord => ({
  id: asTurnId(row.id),
  sessionId: asSessionId(row.session_id),
  user: asUserId(row.user),
  openedAt: row.opened_at,
  expiresAt: row.expires_at,
  endedAt: row.ended_at,
});
