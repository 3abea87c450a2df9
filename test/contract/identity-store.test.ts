import { MemoryIdentityStore } from '../../trusted/identity/index.ts';
import { identityStoreContract } from './identity-store-contract.ts';

identityStoreContract('memory', async () => ({
  store: new MemoryIdentityStore(),
  close: async () => undefined,
}));
