import type { Duplex } from 'node:stream';
import { asGrantId, type EgressFacts, type SidecarPolicy } from '../../pure/contracts/index.ts';
import {
  createEgress,
  type EgressAudit,
  type EgressOptions,
  type EgressProxy,
  type EgressTraffic,
} from '../egress/index.ts';
import { systemResolve } from '../outbound/index.ts';
import type { EgressCounter } from './egress-counter.ts';
import type { Grants } from './grants.ts';
import { argumentsHash } from './operations/operations.ts';
import type { OpenIntent, OperationFacts, OperationTrail } from './operation-trail.ts';
import type { HostCertificate } from './session-authority.ts';
import type { Stamp, Turns } from './turns.ts';

export interface EgressOutOptions {
  readonly policy: Pick<SidecarPolicy, 'egress' | 'placeholders'>;
  readonly turns: Turns;
  readonly grants: Grants;
  readonly trail: OperationTrail;
  readonly counter: EgressCounter;
  readonly readSecret: EgressOptions['readSecret'];
  readonly signRequest: EgressOptions['signRequest'];
  readonly certificateFor: (host: string) => Promise<HostCertificate>;
}

/** The session's way out: the egress proxy, with what it may ask of this session. */
export function openEgress(options: EgressOutOptions): EgressProxy {
  const { policy, turns, grants, trail, counter, readSecret, signRequest, certificateFor } = options;
  const emptyHash = argumentsHash({});
  return createEgress<Stamp, OpenIntent>({
    policy,
    certificateFor,
    readSecret,
    signRequest,
    stamp: () => turns.stamp(),
    audit: auditOf(trail, counter),
    resolve: systemResolve,
    takeGrant: async (stamp, scope, cut) => {
      const id = await grants.take(stamp, scope, emptyHash);
      return id === null ? null : { id, over: grants.underWay(id, cut) };
    },
  });
}

function auditOf(trail: OperationTrail, counter: EgressCounter): EgressAudit<Stamp, OpenIntent> {
  const facts = (record: Parameters<EgressAudit<Stamp, OpenIntent>['event']>[0]): OperationFacts => ({
    stamp: record.stamp,
    operation: record.operation,
    argsHash: null,
    decision: record.decision,
    rule: record.rule,
    detail: [record.alert ? 'ALERT' : '', record.target, record.detail ?? '']
      .filter((part) => part !== '')
      .join(' '),
    ...(record.grant === undefined ? {} : { grant: asGrantId(record.grant) }),
    ...(record.secret === null ? {} : { secret: record.secret }),
    ...(record.result === undefined ? {} : { outcome: record.result }),
    egress: egressFacts(record.target, record.traffic),
  });
  return {
    intent: (record) => {
      counter.decided('allow', record.rule);
      return trail.intent(facts(record));
    },
    outcome: (intent, result, detail, traffic) => {
      counter.over(result === 'ok', traffic);
      return trail.outcome(intent, result, detail, egressFacts(intent.facts.egress?.url ?? '', traffic));
    },
    event: (record) => {
      counter.decided(record.decision, record.rule);
      if (record.decision === 'allow') counter.over(record.result === 'ok', record.traffic);
      void trail.event(facts(record));
    },
  };
}

const egressFacts = (url: string, traffic: EgressTraffic | undefined): EgressFacts => ({
  url,
  ...(traffic === undefined
    ? {}
    : {
        ...(traffic.status === null ? {} : { status: traffic.status }),
        ...(traffic.address === null ? {} : { address: traffic.address }),
        sent: traffic.sent,
        received: traffic.received,
        ms: Math.round(traffic.ms),
      }),
});

/** Without a policy there is no way out: each connection is told so and closed. */
export function refuseConnection(connection: Duplex): void {
  connection.on('error', () => undefined);
  connection.resume();
  connection.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
}
