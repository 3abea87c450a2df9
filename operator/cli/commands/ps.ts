import type { SessionUse, SessionView } from '../../../pure/contracts/index.ts';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { ago, print, printJson, table } from '../output.ts';
import { newestFirst } from '../sessions.ts';

/** A control plane that does not run has no sessions, and is not started to say so. */
async function sessions(all: boolean): Promise<SessionView[]> {
  try {
    return await connect().client.call('listSessions', { query: { all: all ? 'true' : 'false' } });
  } catch (error) {
    if (error instanceof GloveboxError && error.code === 'GB_DAEMON_UNREACHABLE' && !all) return [];
    throw error;
  }
}

function stateOf(session: SessionView): string {
  if (session.state !== 'ended') return session.attached > 0 ? `${session.state}, attached` : session.state;
  if (session.reason === 'exited')
    return session.exitSignal === null ? `exited ${session.exitCode ?? '?'}` : `signal ${session.exitSignal}`;
  return session.reason ?? 'ended';
}

/** Beside the list, not in its way: a control plane that cannot measure lists all the same. */
async function usesOrNone(): Promise<SessionUse[]> {
  return await connect()
    .client.call('sessionUsage', {})
    .catch(() => []);
}

const useText = (use: SessionUse | undefined): string =>
  use === undefined
    ? '-'
    : `${(use.used.cpuMs / 1000).toFixed(0)} s, ${Math.round((use.used.memoryBytes / use.allowed.memoryBytes) * 100)} % memory, ${Math.round((use.used.diskBytes / use.allowed.diskBytes) * 100)} % disk`;

export async function ps(all: boolean, json: boolean): Promise<number> {
  const found = newestFirst(await sessions(all));
  if (json) {
    printJson(found);
    return 0;
  }
  if (found.length === 0) {
    print(all ? 'There are no sessions.' : 'No session is running; `glovebox ps --all` lists ended ones.');
    return 0;
  }
  const live = found.some((session) => session.state === 'running');
  const uses = new Map((live ? await usesOrNone() : []).map((use) => [use.id, use]));
  const rows = found.map((session) => [
    session.name,
    session.id.slice(0, 8),
    stateOf(session),
    ago(session.startedAt ?? session.createdAt, Date.now()),
    useText(uses.get(session.id)),
    session.changes === 'none' ? '-' : session.changes,
    session.workspace,
    session.command.join(' '),
  ]);
  process.stdout.write(
    table(['NAME', 'ID', 'STATE', 'STARTED', 'USE', 'CHANGES', 'WORKSPACE', 'COMMAND'], rows, 50),
  );
  return 0;
}
