import { afterAll, beforeAll } from 'vitest';
import { openPostgresStore, type Store } from '../../trusted/store/index.ts';
import { startPostgres, type PostgresServer } from '../../trusted/store/testing.ts';
import { identityStoreContract } from './identity-store-contract.ts';
import { grantUseContract } from './grant-use-contract.ts';
import { storeContract, type OpenedStore } from './store-contract.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => await server.close());

async function open(): Promise<OpenedStore> {
  const setting = await server.database();
  const stores: Store[] = [];
  const another = async (): Promise<Store> => {
    const store = await openPostgresStore(setting);
    stores.push(store);
    return store;
  };
  const store = await another();
  const second = await another();
  return {
    store,
    second,
    restart: async () => {
      await store.close();
      stores.shift();
      return await another();
    },
    close: async () => {
      for (const one of stores.splice(0)) await one.close();
    },
  };
}

storeContract('PostgreSQL', open);
grantUseContract('PostgreSQL', open);

identityStoreContract('PostgreSQL', async () => {
  const opened = await open();
  return {
    store: opened.store.identity,
    second: opened.second.identity,
    restart: async () => (await opened.restart()).identity,
    close: opened.close,
  };
});
