export { createEgress, type EgressProxy } from './proxy.ts';
export type {
  EgressAudit,
  EgressIntent,
  EgressOptions,
  EgressRecord,
  EgressStamp,
  Traffic as EgressTraffic,
} from './port.ts';
