export { peerCaller, peerIdentity, type PeerRule } from './caller.ts';
export { readSvid, type PeerRole, type SvidFacts } from './certificate.ts';
export { systemClock, type Clock } from './clock.ts';
export { ConnectionRegistry, endWithCertificate } from './connections.ts';
export { newKeyRequest, type KeyRequest } from './key-request.ts';
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
