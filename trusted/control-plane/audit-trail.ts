import { auditText, type SessionId } from '../../pure/contracts/index.ts';
import { AuditPublisher, openIntentsOf, type AuditStore, type AuditWriter } from '../audit/index.ts';
import type { BusConnection } from '../bus/index.ts';
import type { AuditEvent, AuditTrail, Clock } from './ports.ts';
import type { Ids } from './random-ids.ts';

/** The control plane's own records, by the same way as everybody's: stored by JetStream before this resolves (R42). */
export function auditTrail(bus: BusConnection, clock: Clock, ids: Ids): AuditTrail {
  const publisher = publisherOf(bus, clock, ids);
  return {
    record: async (event: AuditEvent) => {
      const { sequence } = await publisher.event({
        session: event.session,
        turn: event.turn ?? null,
        user: event.user ?? null,
        sandbox: event.sandbox ?? null,
        operation: event.operation,
        args_hash: event.args_hash ?? null,
        decision: event.decision,
        rule: event.rule,
        ...(event.scope === undefined ? {} : { scope: auditText(event.scope) }),
        ...(event.grant === undefined ? {} : { grant: event.grant }),
        ...(event.outcome === undefined ? {} : { outcome: event.outcome }),
        ...(event.detail === undefined ? {} : { detail: auditText(event.detail) }),
      });
      return sequence;
    },
  };
}

/** `sequence`: of a record that is later than all of the session's sidecar. */
export type SettleIntents = (session: SessionId, sequence: number) => Promise<void>;

/**
 * A session is over: what it began and did not report the end of is written down as unknown, and never repeated (R42). Its sidecar
 * is gone, so no outcome can come any more.
 */
export function intentSettler(
  bus: BusConnection,
  clock: Clock,
  ids: Ids,
  writer: Pick<AuditWriter, 'caughtUp'>,
  store: AuditStore,
): SettleIntents {
  const publisher = publisherOf(bus, clock, ids);
  return async (session, sequence) => {
    await writer.caughtUp(sequence);
    let last = sequence;
    for (const intent of await openIntentsOf(store, session)) {
      const {
        version: _version,
        id,
        component: _component,
        kind: _kind,
        intent: _intent,
        time: _time,
        ...fields
      } = intent;
      ({ sequence: last } = await publisher.outcome(id, {
        ...fields,
        outcome: 'unknown',
        detail: 'the session ended before its outcome was known',
      }));
    }
    // Who sees that the session ended reads how all of it ended.
    if (last !== sequence) await writer.caughtUp(last);
  };
}

const publisherOf = (bus: BusConnection, clock: Clock, ids: Ids): AuditPublisher =>
  new AuditPublisher({
    bus,
    component: 'control-plane',
    newId: () => ids.token(),
    now: () => new Date(clock.now()),
  });
