import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryIdentityStore } from '../../trusted/identity/index.ts';
import { openSqliteStore } from '../../trusted/store/index.ts';
import { identityStoreContract } from './identity-store-contract.ts';

identityStoreContract('memory', async () => ({
  store: new MemoryIdentityStore(),
  close: async () => undefined,
}));

identityStoreContract('SQLite', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-identity-store-'));
  const file = join(folder, 'control-plane.db');
  let store = await openSqliteStore(file);
  return {
    store: store.identity,
    restart: async () => {
      await store.close();
      store = await openSqliteStore(file);
      return store.identity;
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
