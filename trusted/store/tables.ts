import type { ColumnType } from 'kysely';

/** A `bigint` column: some drivers read it as text, so whoever reads one makes a number of it. */
type Whole = ColumnType<number | string, number, number>;

/** Columns as every adapter has them: text, whole numbers, JSON as text. Nothing here is special to one database. */
export interface SessionTable {
  id: string;
  sandbox_id: string;
  name: string;
  command: string;
  workspace: string;
  workspace_mode: string;
  tier: string;
  user: string;
  preset: string | null;
  terminal: number;
  created_at: string;
  expires_at: string;
  policy: string;
  secrets: string;
  state: string;
  reason: string | null;
  exit_code: number | null;
  exit_signal: number | null;
  started_at: string | null;
  ended_at: string | null;
  detail: string | null;
  changes: string;
  weakened: string;
  limits: string;
  policy_written: number;
  settled: number;
  policy_generation: number;
  turn_id: string | null;
  control_sequence: number;
  replica: string;
}

export interface ConsentTable {
  id: string;
  session_id: string;
  state: string;
  created_at: string;
  expires_at: string;
  count: number;
  /** The question as shown, canonical. */
  shown: string;
}

export interface GrantTable {
  id: string;
  session_id: string;
  user: string;
  scope: string;
  mode: string;
  challenge_id: string;
  created_at: string;
  revoked_at: string | null;
  expires_at: string | null;
  used_at: string | null;
}

export interface TurnTable {
  id: string;
  session_id: string;
  user: string;
  opened_at: string;
  expires_at: string;
  ended_at: string | null;
}

export interface ApiTokenTable {
  id: string;
  name: string;
  user: string;
  scopes: string;
  digest: string;
  created_at: string;
  expires_at: string;
  revoked_at: string | null;
}

export interface SpentTokenTable {
  jti: string;
  session_id: string;
  spent_at: string;
}

export interface WaiverTable {
  name: string;
  user: string;
  at: string;
}

export interface JoinTokenTable {
  hash: string;
  spiffe_id: string;
  expires_at: Whole;
  used: number;
}

export interface SerialTable {
  serial: string;
  lineage: string;
  spiffe_id: string;
  channel: string;
  not_after: Whole;
  renewed_at: ColumnType<number | string | null, number | null, number | null>;
}

export interface RevokedLineageTable {
  lineage: string;
}

export interface InstallationTable {
  id: number;
  name: string;
}

export interface AuditRecordTable {
  seq: Whole;
  session: string;
  id: string;
  prev: string;
  hash: string;
  record: string;
}

export interface AuditHeadTable {
  session: string;
  count: Whole;
  hash: string;
  last_seq: Whole;
}

export interface AuditProgressTable {
  id: number;
  last_seq: Whole;
}

export interface AuditCheckpointTable {
  number: Whole;
  payload: string;
  token: string;
}

export interface AuditTombstoneTable {
  id: number;
  number: Whole;
  tombstone: string;
}

export interface Tables {
  sessions: SessionTable;
  consents: ConsentTable;
  grants: GrantTable;
  turns: TurnTable;
  api_tokens: ApiTokenTable;
  spent_tokens: SpentTokenTable;
  waivers: WaiverTable;
  join_tokens: JoinTokenTable;
  serials: SerialTable;
  revoked_lineages: RevokedLineageTable;
  installation: InstallationTable;
  audit_records: AuditRecordTable;
  audit_heads: AuditHeadTable;
  audit_progress: AuditProgressTable;
  audit_checkpoints: AuditCheckpointTable;
  audit_tombstone: AuditTombstoneTable;
}
