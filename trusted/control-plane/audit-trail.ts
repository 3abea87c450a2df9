import { auditText } from '../../pure/contracts/index.ts';
import { AuditPublisher } from '../audit/index.ts';
import type { BusConnection } from '../bus/index.ts';
import type { AuditEvent, AuditTrail, Clock } from './ports.ts';
import type { Ids } from './random-ids.ts';

/** The control plane's own records, by the same way as everybody's: stored by JetStream before this resolves (R42). */
export function auditTrail(bus: BusConnection, clock: Clock, ids: Ids): AuditTrail {
  const publisher = new AuditPublisher({
    bus,
    component: 'control-plane',
    newId: () => ids.token(),
    now: () => new Date(clock.now()),
  });
  return {
    record: async (event: AuditEvent) => {
      await publisher.event({
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
    },
  };
}
