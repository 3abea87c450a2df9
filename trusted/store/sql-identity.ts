import type { Kysely, Transaction } from 'kysely';
import { parseIdentity, type SpiffeId } from '../../pure/contracts/index.ts';
import {
  attestationChannels,
  type AttestationChannel,
  type IdentityStore,
  type IssuedSerial,
  type JoinBinding,
  type JoinUse,
  type Lineage,
  type RenewalOutcome,
} from '../identity/index.ts';
import type { SqlDialect } from './sql-store.ts';
import type { Tables } from './tables.ts';

export type LineageDialect = Pick<SqlDialect, 'holdLineages' | 'tellRevoked'>;
type Db = Kysely<Tables> | Transaction<Tables>;

/** trusted/identity's port: each method is one statement or one transaction, decided by what the database says it changed. */
export class SqlIdentityStore implements IdentityStore {
  readonly #db: Kysely<Tables>;
  readonly #dialect: LineageDialect;
  constructor(db: Kysely<Tables>, dialect: LineageDialect) {
    this.#db = db;
    this.#dialect = dialect;
  }

  async insertHash(hash: string, binding: JoinBinding): Promise<void> {
    await this.#db
      .insertInto('join_tokens')
      .values({ hash, spiffe_id: binding.spiffeId, expires_at: binding.expiresAt, used: 0 })
      .execute();
  }

  async consumeHash(hash: string): Promise<JoinUse> {
    // One statement: of 100 racing callers one sees the row that it changed (R6).
    const taken = await this.#db
      .updateTable('join_tokens')
      .set({ used: 1 })
      .where('hash', '=', hash)
      .where('used', '=', 0)
      .returning(['spiffe_id', 'expires_at'])
      .executeTakeFirst();
    if (taken !== undefined) {
      return {
        state: 'fresh',
        binding: { spiffeId: idOf(taken.spiffe_id), expiresAt: Number(taken.expires_at) },
      };
    }
    const known = await this.#db
      .selectFrom('join_tokens')
      .select('hash')
      .where('hash', '=', hash)
      .executeTakeFirst();
    return { state: known === undefined ? 'unknown' : 'used' };
  }

  async beginLineage(lineage: string, first: IssuedSerial): Promise<boolean> {
    return await this.#db.transaction().execute(async (transaction) => {
      await this.#dialect.holdLineages(transaction, [lineage]);
      if (await isRevoked(transaction, lineage)) return false;
      await transaction.insertInto('serials').values(serialRow(lineage, first)).execute();
      return true;
    });
  }

  async findSerial(serial: string): Promise<Lineage | undefined> {
    const row = await this.#db
      .selectFrom('serials')
      .leftJoin('revoked_lineages', 'revoked_lineages.lineage', 'serials.lineage')
      .select([
        'serials.lineage as lineage',
        'serials.spiffe_id as spiffe_id',
        'serials.channel as channel',
        'serials.not_after as not_after',
        'serials.renewed_at as renewed_at',
        'revoked_lineages.lineage as revoked',
      ])
      .where('serials.serial', '=', serial)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      lineage: row.lineage,
      spiffeId: idOf(row.spiffe_id),
      channel: channelOf(row.channel),
      notAfter: Number(row.not_after),
      renewed: row.renewed_at !== null,
      revoked: row.revoked !== null,
    };
  }

  async renewSerial(serial: string, next: IssuedSerial, nowMs: number): Promise<RenewalOutcome> {
    return await this.#db.transaction().execute(async (transaction): Promise<RenewalOutcome> => {
      const row = await transaction
        .selectFrom('serials')
        .select('lineage')
        .where('serial', '=', serial)
        .executeTakeFirst();
      if (row === undefined) return { state: 'unknown' };
      // Or a revocation that goes on beside this would not see the certificate that is made here.
      await this.#dialect.holdLineages(transaction, [row.lineage]);
      const marked = await transaction
        .updateTable('serials')
        .set({ renewed_at: nowMs })
        .where('serial', '=', serial)
        .where('renewed_at', 'is', null)
        .executeTakeFirst();
      if (marked.numUpdatedRows !== 1n || (await isRevoked(transaction, row.lineage))) {
        return { state: 'revoked', serials: await this.#revoke(transaction, [row.lineage], nowMs) };
      }
      await transaction.insertInto('serials').values(serialRow(row.lineage, next)).execute();
      return { state: 'renewed' };
    });
  }

  async revokeLineage(lineage: string, nowMs: number): Promise<readonly string[]> {
    return await this.#db
      .transaction()
      .execute(async (transaction) => await this.#revoke(transaction, [lineage], nowMs));
  }

  async revokeIdentity(spiffeId: SpiffeId, nowMs: number): Promise<readonly string[]> {
    return await this.#db.transaction().execute(async (transaction) => {
      await transaction
        .updateTable('join_tokens')
        .set({ used: 1 })
        .where('spiffe_id', '=', spiffeId)
        .execute();
      const [rows, tokens] = [
        await transaction
          .selectFrom('serials')
          .select('lineage')
          .distinct()
          .where('spiffe_id', '=', spiffeId)
          .execute(),
        await transaction
          .selectFrom('join_tokens')
          .select('hash')
          .where('spiffe_id', '=', spiffeId)
          .execute(),
      ];
      const lineages = new Set([...rows.map((row) => row.lineage), ...tokens.map((token) => token.hash)]);
      return await this.#revoke(transaction, [...lineages], nowMs);
    });
  }

  async revokedSerials(nowMs: number): Promise<readonly string[]> {
    const rows = await this.#db
      .selectFrom('serials')
      .innerJoin('revoked_lineages', 'revoked_lineages.lineage', 'serials.lineage')
      .select('serials.serial as serial')
      .where('serials.not_after', '>', nowMs)
      .execute();
    return rows.map((row) => row.serial);
  }

  async forget(beforeMs: number): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      await transaction.deleteFrom('join_tokens').where('expires_at', '<', beforeMs).execute();
      await transaction.deleteFrom('serials').where('not_after', '<', beforeMs).execute();
      await transaction
        .deleteFrom('revoked_lineages')
        .where('lineage', 'not in', (e) => e.selectFrom('serials').select('lineage'))
        .where('lineage', 'not in', (e) => e.selectFrom('join_tokens').select('hash'))
        .execute();
    });
  }

  /** The answer: what of these lineages has not ended. */
  async #revoke(
    db: Transaction<Tables>,
    lineages: readonly string[],
    nowMs: number,
  ): Promise<readonly string[]> {
    await this.#dialect.holdLineages(db, lineages);
    const alive: string[] = [];
    for (const lineage of lineages) {
      await db
        .insertInto('revoked_lineages')
        .values({ lineage })
        .onConflict((conflict) => conflict.column('lineage').doNothing())
        .execute();
      const rows = await db
        .selectFrom('serials')
        .select('serial')
        .where('lineage', '=', lineage)
        .where('not_after', '>', nowMs)
        .execute();
      alive.push(...rows.map((row) => row.serial));
    }
    if (lineages.length > 0) await this.#dialect.tellRevoked(db);
    return alive;
  }
}

async function isRevoked(db: Db, lineage: string): Promise<boolean> {
  const row = await db
    .selectFrom('revoked_lineages')
    .select('lineage')
    .where('lineage', '=', lineage)
    .executeTakeFirst();
  return row !== undefined;
}

const serialRow = (lineage: string, issued: IssuedSerial) => ({
  serial: issued.serial,
  lineage,
  spiffe_id: issued.spiffeId,
  channel: issued.channel,
  not_after: issued.notAfter,
  renewed_at: null,
});

function idOf(text: string): SpiffeId {
  const parsed = parseIdentity(text);
  if (!parsed.ok) throw new RangeError(`the store holds no SPIFFE ID: ${parsed.reason}`);
  return parsed.value.id;
}

function channelOf(text: string): AttestationChannel {
  const channel = attestationChannels.find((known) => known === text);
  if (channel !== undefined) return channel;
  throw new RangeError('the store holds no attestation channel');
}
