import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GloveboxError } from '../../pure/contracts/index.ts';
import type { SandboxDriver } from '../drivers/index.ts';
import type { WorkspaceChanges } from './ports.ts';

/** Whether a session left anything; what exactly, and how it comes out, is the workspace room's. */
export function stagedChanges(driver: SandboxDriver, sessionsFolder: string): WorkspaceChanges {
  const unavailable = (): never => {
    throw new GloveboxError('GB_NOT_FOUND', { what: 'view of staged changes', detail: 'this build has none' });
  };
  return {
    hasChanges: async (session) => {
      if (session.workspaceMode !== 'staged') return false;
      const open = await driver.openChanges(join(sessionsFolder, session.id));
      if (open === undefined) return false;
      try {
        return (await readdir(open.upper)).length > 0;
      } finally {
        await open.close();
      }
    },
    list: async () => unavailable(),
    diff: async () => unavailable(),
    apply: async () => unavailable(),
    discard: async (session) => await driver.removeChanges(join(sessionsFolder, session.id)),
  };
}
