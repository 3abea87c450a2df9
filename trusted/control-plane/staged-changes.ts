import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GloveboxError } from '../../pure/contracts/index.ts';
import {
  applyChanges,
  diffChanges,
  discardChanges,
  hunksOf,
  listChanges,
  type Staged,
} from '../changes/index.ts';
import type { SandboxDriver } from '../drivers/index.ts';
import type { SessionRecord } from '../store/index.ts';
import type { WorkspaceChanges } from './ports.ts';
import { notePartly, noteSetBack, readStagedNotes } from './staged-notes.ts';

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
      const { partly, setBackMs } = await readStagedNotes(folderOf(session));
      return await use({
        lower: session.workspace,
        upper: open.upper,
        since: new Date(Date.parse(session.createdAt) - setBackMs),
        asRoot: process.geteuid?.() === 0,
        show: session.policy.workspace.show,
        partly,
      });
    } finally {
      await open.close();
    }
  };
  /** While the sandbox runs, what is read now and what is written a moment later need not be the same. */
  const requireEnded = (session: SessionRecord, operation: string): void => {
    if (session.state !== 'ended')
      throw new GloveboxError('GB_SESSION_STATE', { state: session.state, operation, needed: 'ended' });
  };
  return {
    hasChanges: (session) =>
      withStaged(session, async ({ upper }) => (await readdir(upper)).length > 0, false),
    list: async (session) => {
      const { changes, truncated } = await withStaged(session, listChanges, {
        changes: [],
        truncated: false,
      });
      return { changes: changes.map(({ replacesFolder: _, ...change }) => change), truncated };
    },
    diff: (session) => withStaged(session, (staged) => diffChanges(staged), ''),
    hunks: (session, path) =>
      withStaged(session, (staged) => hunksOf(staged, path), { path, digest: '', hunks: [] }),
    apply: async (session, choice) => {
      requireEnded(session, 'apply');
      return await withStaged(
        session,
        async (staged) => {
          const { partly, ...outcome } = await applyChanges(staged, choice);
          await notePartly(folderOf(session), partly);
          return outcome;
        },
        { applied: [], skipped: [] },
      );
    },
    discardPaths: async (session, paths) => {
      requireEnded(session, 'discard');
      return await withStaged(session, (staged) => discardChanges(staged, paths), {
        discarded: [],
        skipped: [],
      });
    },
    discard: async (session) => {
      await driver.removeChanges(folderOf(session));
    },
    clockSetBack: async (session, ms) => await noteSetBack(folderOf(session), ms),
  };
}
