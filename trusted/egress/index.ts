export { createEgress, type EgressProxy } from './proxy.ts';
export type { EgressAudit, EgressIntent, EgressOptions, EgressRecord, EgressStamp } from './port.ts';
