import type { SessionView } from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';

export const viewOf = (record: SessionRecord, attached: number): SessionView => ({
  id: record.id,
  name: record.name,
  state: record.state,
  reason: record.reason,
  exitCode: record.exitCode,
  exitSignal: record.exitSignal,
  command: [...record.command],
  workspace: record.workspace,
  workspaceMode: record.workspaceMode,
  changes: record.changes,
  tier: record.tier,
  user: record.user,
  preset: record.preset,
  createdAt: record.createdAt,
  startedAt: record.startedAt,
  endedAt: record.endedAt,
  expiresAt: record.expiresAt,
  weakened: [...record.weakened],
  terminal: record.terminal,
  attached,
  detail: record.detail,
  limits: [...record.limits],
});
