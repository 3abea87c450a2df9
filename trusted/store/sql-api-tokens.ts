import type { Kysely, Selectable } from 'kysely';
import { z } from 'zod';
import { asUserId, tokenScopes, type UserId } from '../../pure/contracts/index.ts';
import type { ApiToken, ApiTokenStore } from './api-tokens.ts';
import type { ApiTokenTable, Tables } from './tables.ts';

export class SqlApiTokenStore implements ApiTokenStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(token: ApiToken): Promise<void> {
    await this.#db
      .insertInto('api_tokens')
      .values({
        id: token.id,
        name: token.name,
        user: token.user,
        scopes: JSON.stringify(token.scopes),
        digest: token.digest,
        created_at: token.createdAt,
        expires_at: token.expiresAt,
        revoked_at: token.revokedAt,
      })
      .execute();
  }

  async get(id: string): Promise<ApiToken | undefined> {
    const row = await this.#db.selectFrom('api_tokens').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : tokenOf(row);
  }

  async list(limit: number): Promise<readonly ApiToken[]> {
    const rows = await this.#db
      .selectFrom('api_tokens')
      .selectAll()
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map(tokenOf);
  }

  async countGood(user: UserId, at: string): Promise<number> {
    const row = await this.#db
      .selectFrom('api_tokens')
      .select((e) => e.fn.countAll().as('good'))
      .where('user', '=', user)
      .where('revoked_at', 'is', null)
      .where('expires_at', '>', at)
      .executeTakeFirst();
    return Number(row?.good ?? 0);
  }

  async revoke(id: string, at: string): Promise<boolean> {
    const result = await this.#db
      .updateTable('api_tokens')
      .set({ revoked_at: at })
      .where('id', '=', id)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return result.numUpdatedRows === 1n;
  }
}

const scopesOf = z.array(z.enum(tokenScopes));

const tokenOf = (row: Selectable<ApiTokenTable>): ApiToken => ({
  id: row.id,
  name: row.name,
  user: asUserId(row.user),
  scopes: scopesOf.parse(JSON.parse(row.scopes)),
  digest: row.digest,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
});
