import { GloveboxError, type UserId } from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import type { WorkspaceChanges } from '../ports.ts';
import type { SessionService } from '../sessions/session-service.ts';
import type { OperatorHandlers } from './handlers.ts';

export interface ChangeParts {
  readonly sessions: Pick<SessionService, 'find' | 'noteChanges'>;
  readonly changes: WorkspaceChanges;
  readonly recorded: (
    operation: string,
    user: UserId,
    detail: string,
    session: SessionRecord,
  ) => Promise<unknown>;
}

type ChangeHandlers = Pick<
  OperatorHandlers,
  'listChanges' | 'diffChanges' | 'listHunks' | 'applyChanges' | 'discardChanges' | 'discardPaths'
>;

/** What a person sees of staged changes, and decides on them. */
export function changeHandlers({ sessions, changes, recorded }: ChangeParts): ChangeHandlers {
  const queue = new KeyedQueue<SessionRecord['id']>();
  /** One at a time for each session, on what the one before left: a layer does not go while another reads it. */
  const alone = async <T>({ id }: SessionRecord, work: (session: SessionRecord) => Promise<T>): Promise<T> =>
    await queue.run(id, async () => await work(await sessions.find(id)));
  /** What was decided on is no change any more: the layer goes when nothing of it waits for a decision. */
  const settle = async (session: SessionRecord, how: 'applied' | 'discarded'): Promise<void> => {
    if ((await changes.list(session)).changes.length > 0) return;
    await changes.discard(session);
    await sessions.noteChanges(session, how);
  };
  return {
    listChanges: ({ session: given }) =>
      alone(given, async (session) => {
        if (session.changes !== 'kept' && session.state === 'ended')
          return { state: session.changes, changes: [], truncated: false };
        const { changes: found, truncated } = await changes.list(session);
        return { state: session.changes, changes: [...found], truncated };
      }),
    diffChanges: ({ session: given }) =>
      alone(given, async (session) => ({ diff: await changes.diff(session) })),
    listHunks: ({ session: given, query }) =>
      alone(given, async (session) => {
        requireKept(session, 'hunks');
        const { path, digest, hunks } = await changes.hunks(session, query.path ?? '');
        return { path, digest, hunks: [...hunks] };
      }),
    applyChanges: ({ caller, session: given, body }) =>
      alone(given, async (session) => {
        requireKept(session, 'apply');
        const what = body.paths === undefined ? 'all' : `${body.paths.length} paths`;
        const hunks = body.hunks.length === 0 ? '' : `, hunks of ${body.hunks.length} files`;
        await recorded('changes.apply', caller.user, `${what}${hunks}`, session);
        const outcome = await changes.apply(session, {
          ...(body.paths === undefined ? {} : { paths: body.paths }),
          sensitive: body.sensitive,
          hunks: body.hunks,
        });
        await settle(session, 'applied');
        return { applied: [...outcome.applied], skipped: [...outcome.skipped] };
      }),
    discardChanges: ({ caller, session: given }) =>
      alone(given, async (session) => {
        requireKept(session, 'discard');
        await recorded('changes.discard', caller.user, 'all', session);
        await changes.discard(session);
        return await sessions.noteChanges(session, 'discarded');
      }),
    discardPaths: ({ caller, session: given, body }) =>
      alone(given, async (session) => {
        requireKept(session, 'discard');
        await recorded('changes.discard', caller.user, `${body.paths.length} paths`, session);
        const { discarded, skipped } = await changes.discardPaths(session, body.paths);
        await settle(session, 'discarded');
        return { discarded: [...discarded], skipped: [...skipped] };
      }),
  };
}

function requireKept(session: SessionRecord, operation: string): void {
  if (session.state !== 'ended') {
    throw new GloveboxError('GB_SESSION_STATE', { state: session.state, operation, needed: 'ended' });
  }
  if (session.changes !== 'kept') {
    throw new GloveboxError('GB_NOT_FOUND', {
      what: 'staged change to decide on',
      detail: session.changes === 'none' ? 'the session made none' : `they were ${session.changes} before`,
    });
  }
}
