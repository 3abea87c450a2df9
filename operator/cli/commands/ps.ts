import type { SessionView } from '../../../pure/contracts/index.ts';
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
  const rows = found.map((session) => [
    session.name,
    session.id.slice(0, 8),
    stateOf(session),
    ago(session.startedAt ?? session.createdAt, Date.now()),
    session.changes === 'none' ? '-' : session.changes,
    session.workspace,
    session.command.join(' '),
  ]);
  process.stdout.write(
    table(['NAME', 'ID', 'STATE', 'STARTED', 'CHANGES', 'WORKSPACE', 'COMMAND'], rows, 50),
  );
  return 0;
}
