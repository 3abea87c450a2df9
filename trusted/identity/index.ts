export {
  IdentityAuthority,
  type IdentityAuthorityOptions,
  type IssuedIdentity,
  type SvidIssuer,
} from './authority.ts';
export { peerCaller, peerIdentity, type PeerRule } from './caller.ts';
export { readSvid, type PeerRole, type SvidFacts } from './certificate.ts';
export { systemClock, type Clock } from './clock.ts';
export { ConnectionRegistry, endWithCertificate } from './connections.ts';
export { renewalStatement, renewedPeer } from './continuity.ts';
export { JoinTokens, type Joined } from './join-tokens.ts';
export { newKeyRequest, type KeyRequest } from './key-request.ts';
export { MemoryIdentityStore } from './memory-store.ts';
export {
  attestationChannels,
  type AttestationChannel,
  type IdentityStore,
  type IssuedSerial,
  type JoinBinding,
  type JoinUse,
  type Lineage,
  type RenewalOutcome,
} from './port.ts';
export { Renewals, type RevokedListener } from './renewals.ts';
export { checkedSvid, type SvidAnswer, type SvidMaterial } from './svid.ts';
export { SvidSource, type SvidSourceOptions } from './svid-source.ts';
export {
  clientTlsOptions,
  IdentityAgent,
  rotateServer,
  serverTlsOptions,
  type ClientCertificate,
  type ExpectedPeer,
  type TlsIdentity,
} from './tls.ts';
