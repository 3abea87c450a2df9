export type { SecretBackend, SecretListing } from './backend.ts';
export { brokerBootstrap, type BrokerBootstrap, type BrokerReport } from './bootstrap.ts';
export { SecretBroker, type SecretBrokerOptions } from './broker.ts';
export { BrokerProcess, type BrokerProcessOptions } from './client.ts';
export { EmbeddedBackend } from './embedded-backend.ts';
export { SealingKey } from './sealing-key.ts';
