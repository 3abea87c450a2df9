import type { Kysely, Selectable } from 'kysely';
import { auditRecord, type AuditRecord } from '../../pure/contracts/index.ts';
import { checkpointPayload, type ChainedRecord, type ChainHead } from '../../pure/verify/index.ts';
import type { AuditBatch, AuditStore, RecordQuery, StoredCheckpoint } from '../audit/index.ts';
import type { AuditHeadTable, AuditRecordTable, Tables } from './tables.ts';

/** trusted/audit's port. A batch, its heads and how far the stream is dealt with are one transaction (R42). */
export class SqlAuditStore implements AuditStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async append(batch: AuditBatch): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      for (const { seq, prev, hash, record } of batch.records) {
        await transaction
          .insertInto('audit_records')
          .values({ seq, session: record.session, id: record.id, prev, hash, record: JSON.stringify(record) })
          .execute();
      }
      for (const { session, count, hash, lastSeq } of batch.heads) {
        await transaction
          .insertInto('audit_heads')
          .values({ session, count, hash, last_seq: lastSeq })
          .onConflict((conflict) =>
            conflict.column('session').doUpdateSet({ count, hash, last_seq: lastSeq }),
          )
          .execute();
      }
      await transaction
        .insertInto('audit_progress')
        .values({ id: 1, last_seq: batch.lastSeq })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ last_seq: batch.lastSeq }))
        .execute();
    });
  }

  async lastSeq(): Promise<number> {
    const row = await this.#db
      .selectFrom('audit_progress')
      .select('last_seq')
      .where('id', '=', 1)
      .executeTakeFirst();
    return row === undefined ? 0 : Number(row.last_seq);
  }

  async heads(): Promise<readonly ChainHead[]> {
    const rows = await this.#db.selectFrom('audit_heads').selectAll().execute();
    // Sorted here: a database's collation is its own.
    return rows.map(headOf).sort((a, b) => (a.session < b.session ? -1 : a.session > b.session ? 1 : 0));
  }

  async head(session: string): Promise<ChainHead | undefined> {
    const row = await this.#db
      .selectFrom('audit_heads')
      .selectAll()
      .where('session', '=', session)
      .executeTakeFirst();
    return row === undefined ? undefined : headOf(row);
  }

  async find(session: string, id: string): Promise<AuditRecord | undefined> {
    const row = await this.#db
      .selectFrom('audit_records')
      .selectAll()
      .where('session', '=', session)
      .where('id', '=', id)
      .orderBy('seq')
      .executeTakeFirst();
    return row === undefined ? undefined : chainedOf(row).record;
  }

  async read(query: RecordQuery): Promise<readonly ChainedRecord[]> {
    let select = this.#db
      .selectFrom('audit_records')
      .selectAll()
      .where('seq', '>', query.afterSeq ?? 0);
    if (query.session !== undefined) select = select.where('session', '=', query.session);
    const newest = query.newest === true;
    const rows = await select
      .orderBy('seq', newest ? 'desc' : 'asc')
      .limit(query.limit)
      .execute();
    return (newest ? rows.reverse() : rows).map(chainedOf);
  }

  async addCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    await this.#db
      .insertInto('audit_checkpoints')
      .values({
        number: checkpoint.payload.number,
        payload: JSON.stringify(checkpoint.payload),
        token: checkpoint.token,
      })
      .execute();
  }

  async checkpoints(): Promise<readonly StoredCheckpoint[]> {
    const rows = await this.#db.selectFrom('audit_checkpoints').selectAll().orderBy('number').execute();
    return rows.map(({ payload, token }) => ({
      payload: checkpointPayload.parse(JSON.parse(payload)),
      token,
    }));
  }
}

const headOf = (row: Selectable<AuditHeadTable>): ChainHead => ({
  session: row.session,
  count: Number(row.count),
  hash: row.hash,
  lastSeq: Number(row.last_seq),
});

const chainedOf = (row: Selectable<AuditRecordTable>): ChainedRecord => ({
  seq: Number(row.seq),
  prev: row.prev,
  hash: row.hash,
  record: auditRecord.parse(JSON.parse(row.record)),
});
