export {
  BusConnection,
  type BusConnectionOptions,
  type BusHandler,
  type BusSubscription,
} from './connection.ts';
export {
  createAuthorizer,
  type AuthorizerOptions,
  type BusAnswer,
  type BusAuthorizer,
  type BusClient,
  type BusDecision,
} from './callout.ts';
export { AuthCallout, type CalloutOptions } from './callout-service.ts';
export { readCertificate, type CertificateIdentity, type CertificateReader } from './certificate.ts';
export type { BusAddress } from './dial.ts';
export { isUndelivered } from './failures.ts';
export { createBusKeys, publicKeys, type BusKeys, type BusPublicKeys } from './keys.ts';
export {
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
export { NatsServer, type NatsServerOptions, type ServerExit, type Svid } from './server.ts';
