export {
  SignerClient,
  type ControlPayload,
  type RevokedSerials,
  type Signer,
  type SignerExit,
  type SignerOptions,
  type Svid,
  type SvidOrder,
} from './client.ts';
export { purposes, type Purpose } from '../tokens/index.ts';
export { TokenVerifier, type Verified } from '../tokens/index.ts';
export { rootSteps, type RootStep } from './protocol.ts';
