import type { Kysely } from 'kysely';
import type { Tables } from './tables.ts';
import type { Waiver, WaiverStore } from './waivers.ts';

export class SqlWaiverStore implements WaiverStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async list(): Promise<readonly Waiver[]> {
    return await this.#db.selectFrom('waivers').selectAll().orderBy('name').execute();
  }

  async add(waiver: Waiver): Promise<boolean> {
    const added = await this.#db
      .insertInto('waivers')
      .values({ name: waiver.name, user: waiver.user, at: waiver.at })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .returning('name')
      .executeTakeFirst();
    return added !== undefined;
  }

  async remove(name: string): Promise<boolean> {
    const result = await this.#db.deleteFrom('waivers').where('name', '=', name).executeTakeFirst();
    return result.numDeletedRows === 1n;
  }
}
