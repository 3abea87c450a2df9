export { exportAudit, openIntentsOf, query } from './export.ts';
export { MemoryAuditStore } from './memory-store.ts';
export { AuditPublisher, type AuditPublisherOptions, type RecordFields } from './publisher.ts';
export { retainAudit, type Retained, type RetentionOptions } from './retention.ts';
export type { AuditBatch, AuditStore, RecordQuery, StoredCheckpoint, StoredTombstone } from './store.ts';
export type { SecurityEvent } from './chain-builder.ts';
export { ElectedAuditWriter, type ElectedWriterOptions, type WriterLease } from './elected-writer.ts';
export type { RejectReason } from './admit.ts';
export { AuditWriter, type AuditWriterOptions } from './writer.ts';
