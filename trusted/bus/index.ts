export {
  BusConnection,
  type BusConnectionOptions,
  type BusHandler,
  type BusSubscription,
} from './connection.ts';
export type {
  BusAnswer,
  BusAuthorizer,
  BusClient,
  BusDecision,
  BusPublicKeys,
  CertificateIdentity,
} from './authorizer.ts';
export { alreadyClosed } from './authorizer.ts';
export { AuthCallout, type CalloutOptions } from './callout-service.ts';
export { readCertificate, type CertificateReader } from './certificate.ts';
export type { BusAddress, BusAddresses } from './dial.ts';
export { isUndelivered } from './failures.ts';
export {
  auditStreamEnd,
  ensureAuditStream,
  publishIntent,
  readStored,
  readStream,
  trimStream,
  type StreamRecord,
  type IntentOptions,
  type StoredIntent,
  type StoredRecord,
} from './intent.ts';
export { renewServer } from './renew-server.ts';
export {
  busOperators,
  busRoutes,
  serverConfig,
  type ClusterInput,
  type ServerConfigInput,
} from './server-config.ts';
export { NatsServer, type NatsServerOptions, type ServerExit, type Svid } from './server.ts';
