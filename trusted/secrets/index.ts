// What starts the broker, and no more: the code that opens values is in no program but the broker's own (R5).
export type { SecretBackend, SecretListing, StoredSecret } from './backend.ts';
export { brokerBootstrap, type BrokerBootstrap, type BrokerReport } from './bootstrap.ts';
export { BrokerProcess, type BrokerProcessOptions } from './client.ts';
