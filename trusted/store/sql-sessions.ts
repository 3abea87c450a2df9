import type { Kysely, Selectable } from 'kysely';
import {
  asSandboxId,
  asSessionId,
  asTurnId,
  asUserId,
  GloveboxError,
  policyDocument,
  sessionView,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { SessionLife } from '../../pure/session/index.ts';
import type { SessionFindings, SessionOrigin, SessionRecord, SessionStore } from './sessions.ts';
import type { SessionTable, Tables } from './tables.ts';

const lifeSchema = sessionView.pick({
  state: true,
  reason: true,
  exitCode: true,
  exitSignal: true,
  startedAt: true,
  endedAt: true,
  detail: true,
});
const findingsSchema = sessionView.pick({ changes: true, weakened: true, limits: true });

export class SqlSessionStore implements SessionStore {
  readonly #db: Kysely<Tables>;
  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async insert(origin: SessionOrigin, life: SessionLife): Promise<SessionRecord> {
    const row = { ...originColumns(origin), ...lifeColumns(life), ...freshFindings };
    // The index on open names decides: a look before the insert would not see who inserts at the same time.
    const inserted = await this.#db
      .insertInto('sessions')
      .values(row)
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst();
    if (inserted !== undefined) return recordOf(row);
    const taken = await this.#db
      .selectFrom('sessions')
      .select('id')
      .where('name', '=', origin.name)
      .where('state', '!=', 'ended')
      .executeTakeFirst();
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The name ${origin.name}`,
      detail:
        taken === undefined
          ? 'its id is taken, or was a moment ago'
          : `session ${taken.id} of that name is still open`,
    });
  }

  async get(id: SessionId): Promise<SessionRecord | undefined> {
    const row = await this.#db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : recordOf(row);
  }

  async list(filter: {
    readonly ended: boolean;
    readonly limit: number;
    readonly replica?: string;
  }): Promise<readonly SessionRecord[]> {
    let query = this.#db.selectFrom('sessions').selectAll();
    if (!filter.ended) query = query.where('state', '!=', 'ended');
    if (filter.replica !== undefined) query = query.where('replica', '=', filter.replica);
    const rows = await query.orderBy('created_at', 'desc').orderBy('id').limit(filter.limit).execute();
    return rows.map(recordOf);
  }

  async find(text: string): Promise<readonly SessionRecord[]> {
    const named = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where('name', '=', text)
      .orderBy('created_at', 'desc')
      .limit(1)
      .execute();
    if (named.length > 0) return named.map(recordOf);
    // The alphabet of ids holds no LIKE wildcard, so the pattern is the prefix and nothing else.
    if (!/^[a-z2-7]{4,26}$/.test(text)) return [];
    const rows = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where('id', 'like', `${text}%`)
      .limit(2)
      .execute();
    return rows.map(recordOf);
  }

  async unsettled(replica: string): Promise<readonly SessionRecord[]> {
    const rows = await this.#db
      .selectFrom('sessions')
      .selectAll()
      .where('state', '=', 'ended')
      .where('settled', '=', 0)
      .where('replica', '=', replica)
      .orderBy('created_at')
      .execute();
    return rows.map(recordOf);
  }

  async openReplicas(): Promise<readonly string[]> {
    const rows = await this.#db
      .selectFrom('sessions')
      .select('replica')
      .distinct()
      .where((e) => e.or([e('state', '!=', 'ended'), e('settled', '=', 0)]))
      .execute();
    return rows.map((row) => row.replica);
  }

  async countOpen(): Promise<number> {
    const row = await this.#db
      .selectFrom('sessions')
      .select((e) => e.fn.countAll().as('open'))
      .where('state', '!=', 'ended')
      .executeTakeFirstOrThrow();
    return Number(row.open);
  }

  async move(id: SessionId, from: SessionLife['state'], life: SessionLife): Promise<boolean> {
    const result = await this.#db
      .updateTable('sessions')
      .set(lifeColumns(life))
      .where('id', '=', id)
      .where('state', '=', from)
      .executeTakeFirst();
    return result.numUpdatedRows === 1n;
  }

  async note(id: SessionId, findings: Partial<Omit<SessionFindings, 'policyWritten'>>): Promise<void> {
    const set = {
      ...(findings.changes === undefined ? {} : { changes: findings.changes }),
      ...(findings.weakened === undefined ? {} : { weakened: JSON.stringify(findings.weakened) }),
      ...(findings.limits === undefined ? {} : { limits: JSON.stringify(findings.limits) }),
      ...(findings.policyGeneration === undefined ? {} : { policy_generation: findings.policyGeneration }),
      ...(findings.settled === undefined ? {} : { settled: findings.settled ? 1 : 0 }),
      ...(findings.turnId === undefined ? {} : { turn_id: findings.turnId }),
    };
    if (Object.keys(set).length === 0) return;
    await this.#db.updateTable('sessions').set(set).where('id', '=', id).execute();
  }

  async writePolicy(
    id: SessionId,
    from: number,
    next: Pick<SessionOrigin, 'policy' | 'secrets'>,
  ): Promise<boolean> {
    const result = await this.#db
      .updateTable('sessions')
      .set({ ...policyColumns(next), policy_written: from + 1 })
      .where('id', '=', id)
      .where('policy_written', '=', from)
      .where('state', '!=', 'ended')
      .executeTakeFirst();
    return result.numUpdatedRows === 1n;
  }

  async nextControlSequence(id: SessionId): Promise<number> {
    const row = await this.#db
      .updateTable('sessions')
      .set((e) => ({ control_sequence: e('control_sequence', '+', 1) }))
      .where('id', '=', id)
      .returning('control_sequence')
      .executeTakeFirst();
    if (row === undefined) throw new GloveboxError('GB_NOT_FOUND', { what: 'such session', detail: id });
    return row.control_sequence;
  }
}

const freshFindings = {
  changes: 'none',
  weakened: '[]',
  limits: '[]',
  policy_written: 1,
  policy_generation: 0,
  turn_id: null,
  settled: 0,
  control_sequence: 0,
} as const;

const originColumns = (origin: SessionOrigin) => ({
  id: origin.id,
  sandbox_id: origin.sandboxId,
  name: origin.name,
  replica: origin.replica,
  command: JSON.stringify(origin.command),
  workspace: origin.workspace,
  workspace_mode: origin.workspaceMode,
  tier: origin.tier,
  user: origin.user,
  preset: origin.preset,
  terminal: origin.terminal ? 1 : 0,
  created_at: origin.createdAt,
  expires_at: origin.expiresAt,
  ...policyColumns(origin),
});

const policyColumns = ({ policy, secrets }: Pick<SessionOrigin, 'policy' | 'secrets'>) => ({
  policy: JSON.stringify(policy),
  secrets: JSON.stringify(secrets),
});

const lifeColumns = (life: SessionLife) => ({
  state: life.state,
  reason: life.reason,
  exit_code: life.exitCode,
  exit_signal: life.exitSignal,
  started_at: life.startedAt,
  ended_at: life.endedAt,
  detail: life.detail,
});

const strings = (text: string): string[] => sessionView.shape.command.parse(JSON.parse(text));

/** What comes out of the database is parsed as anything else is: a row changed by hand is an error, not a permission. */
function recordOf(row: Selectable<SessionTable>): SessionRecord {
  return {
    id: asSessionId(row.id),
    sandboxId: asSandboxId(row.sandbox_id),
    name: row.name,
    replica: row.replica,
    command: strings(row.command),
    workspace: row.workspace,
    workspaceMode: sessionView.shape.workspaceMode.parse(row.workspace_mode),
    tier: row.tier,
    user: asUserId(row.user),
    preset: row.preset,
    terminal: row.terminal === 1,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    policy: policyDocument.parse(JSON.parse(row.policy)),
    secrets: strings(row.secrets),
    ...lifeSchema.parse({
      state: row.state,
      reason: row.reason,
      exitCode: row.exit_code,
      exitSignal: row.exit_signal,
      startedAt: row.started_at,
      endedAt: row.ended_at,
      detail: row.detail,
    }),
    ...findingsSchema.parse({
      changes: row.changes,
      weakened: JSON.parse(row.weakened) as unknown,
      limits: JSON.parse(row.limits) as unknown,
    }),
    policyWritten: row.policy_written,
    policyGeneration: row.policy_generation,
    turnId: row.turn_id === null ? null : asTurnId(row.turn_id),
    settled: row.settled === 1,
  };
}
