import { GloveboxError, type SessionView } from '../../pure/contracts/index.ts';
import type { OperatorClient } from '../client/index.ts';

/** The session that a command means: the one named (by name, id or the start of an id), else the newest here that `fits`. */
export async function sessionHere(
  client: OperatorClient,
  wanted: string | undefined,
  fits: (session: SessionView) => boolean,
  what: string,
): Promise<SessionView> {
  if (wanted !== undefined) return client.call('getSession', { params: { id: wanted } });
  const folder = process.cwd();
  const all = await client.call('listSessions', { query: { all: 'true' } });
  const found = newestFirst(all).find((session) => session.workspace === folder && fits(session));
  if (found !== undefined) return found;
  throw new GloveboxError('GB_NOT_FOUND', {
    what: `session of ${folder} ${what}`,
    detail: 'Without a name, the newest session of the current folder is meant.',
  });
}

export const isLive = (session: SessionView): boolean => session.state !== 'ended';

export const newestFirst = (sessions: readonly SessionView[]): SessionView[] =>
  [...sessions].sort(
    (a, b) => Number(isLive(b)) - Number(isLive(a)) || Date.parse(b.createdAt) - Date.parse(a.createdAt),
  );
