import type { Kysely, Selectable, Transaction } from 'kysely';
import { z } from 'zod';
import { auditRecord, GloveboxError, type AuditRecord } from '../../pure/contracts/index.ts';
import { checkpointPayload, type ChainedRecord, type ChainHead } from '../../pure/verify/index.ts';
import type {
  AuditBatch,
  AuditStore,
  RecordQuery,
  StoredCheckpoint,
  StoredTombstone,
} from '../audit/index.ts';
import type { AuditCheckpointTable, AuditHeadTable, AuditRecordTable, Tables } from './tables.ts';

/** trusted/audit's port. A batch, its heads and how far the stream is dealt with are one transaction (R42). */
export class SqlAuditStore implements AuditStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async append(batch: AuditBatch): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      await advance(transaction, batch.afterSeq, batch.lastSeq);
      for (const page of pagesOf(batch.records)) {
        await transaction.insertInto('audit_records').values(page.map(rowOf)).execute();
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
    await this.#db.transaction().execute(async (transaction) => {
      // Signed over what the store still is: another writer may have gone on meanwhile.
      await advance(transaction, checkpoint.payload.stream_seq, checkpoint.payload.stream_seq);
      await transaction
        .insertInto('audit_checkpoints')
        .values({
          number: checkpoint.payload.number,
          payload: JSON.stringify(checkpoint.payload),
          token: checkpoint.token,
        })
        .execute();
    });
  }

  async retain(tombstone: StoredTombstone): Promise<number> {
    const { number, stream_seq } = tombstone.checkpoint.payload;
    const row = { id: 1, number, tombstone: JSON.stringify(tombstone) };
    return await this.#db.transaction().execute(async (transaction) => {
      const placed = await transaction
        .insertInto('audit_tombstone')
        .values(row)
        .onConflict((conflict) =>
          conflict
            .column('id')
            .doUpdateSet({ number, tombstone: row.tombstone })
            // Never back to an older one: its records are gone.
            .where('audit_tombstone.number', '<', number),
        )
        .returning('id')
        .executeTakeFirst();
      if (placed === undefined) return 0;
      const removed = await transaction
        .deleteFrom('audit_records')
        .where('seq', '<=', stream_seq)
        .executeTakeFirst();
      await transaction.deleteFrom('audit_checkpoints').where('number', '<', number).execute();
      return Number(removed.numDeletedRows);
    });
  }

  async tombstone(): Promise<StoredTombstone | undefined> {
    const row = await this.#db.selectFrom('audit_tombstone').select('tombstone').executeTakeFirst();
    return row === undefined ? undefined : storedTombstone.parse(JSON.parse(row.tombstone));
  }

  async lastCheckpoint(): Promise<StoredCheckpoint | undefined> {
    const row = await this.#db
      .selectFrom('audit_checkpoints')
      .selectAll()
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : checkpointOf(row);
  }

  async checkpoints(): Promise<readonly StoredCheckpoint[]> {
    const rows = await this.#db.selectFrom('audit_checkpoints').selectAll().orderBy('number').execute();
    return rows.map(checkpointOf);
  }
}

/** The fence: who built upon another end of the trail than the store's writes nothing, lock or no lock (R41). */
async function advance(transaction: Transaction<Tables>, from: number, to: number): Promise<void> {
  if (from === 0) {
    await transaction
      .insertInto('audit_progress')
      .values({ id: 1, last_seq: 0 })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
  }
  const moved = await transaction
    .updateTable('audit_progress')
    .set({ last_seq: to })
    .where('id', '=', 1)
    .where('last_seq', '=', from)
    .executeTakeFirst();
  if (moved.numUpdatedRows !== 1n) {
    throw new GloveboxError('GB_STORE_CONFLICT', { detail: `the trail does not end at record ${from}` });
  }
}

/** As many rows as every database takes in one statement. */
const pageRows = 500;
function* pagesOf(records: readonly ChainedRecord[]): Generator<readonly ChainedRecord[]> {
  for (let at = 0; at < records.length; at += pageRows) yield records.slice(at, at + pageRows);
}

const rowOf = ({ seq, prev, hash, record }: ChainedRecord) => ({
  seq,
  session: record.session,
  id: record.id,
  prev,
  hash,
  record: JSON.stringify(record),
});

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

const storedTombstone = z.object({
  checkpoint: z.object({ payload: checkpointPayload, token: z.string() }),
  heads: z.array(z.object({ session: z.string(), count: z.number(), hash: z.string(), lastSeq: z.number() })),
});

const checkpointOf = ({ payload, token }: Selectable<AuditCheckpointTable>): StoredCheckpoint => ({
  payload: checkpointPayload.parse(JSON.parse(payload)),
  token,
});
