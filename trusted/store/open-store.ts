import { existsSync } from 'node:fs';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { openPostgresStore } from './postgres/open-postgres.ts';
import { openSqliteStore } from './sqlite/open-sqlite.ts';
import type { StateFolder } from './state-folder.ts';
import type { Store } from './store.ts';

/** The store that the state folder names: its own SQLite file, unless `store.json` says otherwise. */
export async function openStore(folder: StateFolder): Promise<Store> {
  if (folder.storeSetting !== undefined && existsSync(folder.database)) {
    // Two stores, and nobody could say which of them knows what was spent and revoked.
    throw new GloveboxError('GB_STATE_REFUSED', {
      path: folder.root,
      detail: 'it has a store of its own (control-plane.db) and names another one (store.json)',
      todo: 'Begin with a fresh state folder for PostgreSQL, or take store.json away.',
    });
  }
  const store =
    folder.storeSetting === undefined
      ? await openSqliteStore(folder.database)
      : await openPostgresStore(folder.storeSetting);
  try {
    await store.claim(folder.installation);
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}
