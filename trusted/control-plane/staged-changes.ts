import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { applyChanges, diffChanges, listChanges, type Staged } from '../changes/index.ts';
import type { SandboxDriver } from '../drivers/index.ts';
import type { SessionRecord } from '../store/index.ts';
import type { WorkspaceChanges } from './ports.ts';

/** A session's staged changes: the driver opens the layer, the changes room reads it and brings it out. */
export function stagedChanges(driver: SandboxDriver, sessionsFolder: string): WorkspaceChanges {
  const folderOf = (session: SessionRecord): string => join(sessionsFolder, session.id);
  const withStaged = async <T>(
    session: SessionRecord,
    use: (staged: Staged) => Promise<T>,
    otherwise: T,
  ): Promise<T> => {
    if (session.workspaceMode !== 'staged') return otherwise;
    const open = await driver.openChanges(folderOf(session));
    if (open === undefined) return otherwise;
    try {
      return await use({
        lower: session.workspace,
        upper: open.upper,
        since: new Date(session.createdAt),
        asRoot: process.geteuid?.() === 0,
        show: session.policy.workspace.show,
      });
    } finally {
      await open.close();
    }
  };
  return {
    hasChanges: (session) =>
      withStaged(session, async ({ upper }) => (await readdir(upper)).length > 0, false),
    list: (session) => withStaged(session, listChanges, { changes: [], truncated: false }),
    diff: (session) => withStaged(session, diffChanges, ''),
    apply: (session, choice) => {
      // While the sandbox runs, what is read now and what is written a moment later need not be the same.
      if (session.state !== 'ended') {
        throw new GloveboxError('GB_SESSION_STATE', {
          state: session.state,
          operation: 'apply',
          needed: 'ended',
        });
      }
      return withStaged(session, (staged) => applyChanges(staged, choice), { applied: [], skipped: [] });
    },
    discard: async (session) => {
      await driver.removeChanges(folderOf(session));
    },
  };
}
