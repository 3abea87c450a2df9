import {
  auditText,
  eventsPattern,
  isId,
  limits,
  operatorEvent,
  parseSubject,
  type AuditRecord,
  type OperatorEvent,
} from '../../pure/contracts/index.ts';
import type { AuditBatch, AuditStore } from '../audit/index.ts';
import type { BusConnection } from '../bus/index.ts';
import { RequestRate } from '../workload-http/index.ts';
import type { Clock } from './ports.ts';

/** Words of an agent, as its sidecar passes them on. Whose they are is in the subject; the body's session is not read (R9). */
export async function relayAgentWords(
  bus: BusConnection,
  publish: (event: OperatorEvent) => void,
  clock: Clock,
  onError: (error: unknown) => void,
): Promise<void> {
  const rate = new RequestRate('agentEventRate', limits.agentEventRate.value, () => clock.now());
  await bus.subscribe(
    eventsPattern,
    (message) => {
      const session = parseSubject('events', message.subject)?.['session'];
      if (session === undefined || !isId(session) || message.data.length > limits.workloadBody.value) return;
      rate.count(session);
      const parsed = operatorEvent.safeParse(JSON.parse(message.string()));
      // The allow-list of what may come this way: an agent's words, never a consent or a state (R38).
      if (!parsed.success || parsed.data.type !== 'agent') return;
      const { kind, text } = parsed.data;
      publish({ type: 'agent', sessionId: session, kind: auditText(kind), text });
    },
    { onError },
  );
}

/** The writer's store, with somebody who is told of each record once it is stored. */
export function observed(store: AuditStore, onRecord: (record: AuditRecord) => void): AuditStore {
  return {
    append: async (batch: AuditBatch) => {
      await store.append(batch);
      for (const { record } of batch.records) onRecord(record);
    },
    lastSeq: async () => await store.lastSeq(),
    heads: async () => await store.heads(),
    head: async (session) => await store.head(session),
    find: async (session, id) => await store.find(session, id),
    read: async (query) => await store.read(query),
    addCheckpoint: async (checkpoint) => await store.addCheckpoint(checkpoint),
    retain: async (tombstone) => await store.retain(tombstone),
    tombstone: async () => await store.tombstone(),
    lastCheckpoint: async () => await store.lastCheckpoint(),
    checkpoints: async () => await store.checkpoints(),
  };
}

/** A refusal, for whoever watches the session. */
export const deniedEvent = (record: AuditRecord): OperatorEvent | null =>
  record.decision === 'deny' && record.session !== 'system'
    ? { type: 'denied', sessionId: record.session, operation: record.operation, rule: record.rule }
    : null;
