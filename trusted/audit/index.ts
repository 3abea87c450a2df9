export { exportAudit, openIntentsOf, query } from './export.ts';
export { MemoryAuditStore } from './memory-store.ts';
export { AuditPublisher, type AuditPublisherOptions, type RecordFields } from './publisher.ts';
export type { AuditBatch, AuditStore, RecordQuery, StoredCheckpoint } from './store.ts';
export type { SecurityEvent } from './chain-builder.ts';
export type { RejectReason } from './admit.ts';
export { AuditWriter, type AuditWriterOptions } from './writer.ts';
