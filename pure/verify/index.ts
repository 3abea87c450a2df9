export {
  chainRecord,
  genesis,
  headAfter,
  openIntents,
  recordHash,
  type ChainedRecord,
  type ChainHead,
} from './chain.ts';
export {
  checkpointPayload,
  inclusionOf,
  openCheckpoint,
  rootOfHeads,
  tokenHash,
  type CheckpointPayload,
  type Inclusion,
  type OpenedCheckpoint,
} from './checkpoint.ts';
export { exportLine, type ExportLine } from './export-format.ts';
export { fromOcsf, looksLikeOcsf, toOcsf, type OcsfEvent } from './ocsf.ts';
export { isRetainRecord, retainDetail, retainOperation, type Tombstone } from './tombstone.ts';
export { verifyExport, type VerifyProblem, type VerifyResult } from './verify-export.ts';
