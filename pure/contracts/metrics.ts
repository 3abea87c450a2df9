import { sessionStates } from './session-end.ts';

/**
 * What `GET /v1/metrics` shows, in Prometheus' text format. The one table: the control plane registers what stands here, docs/metrics.md is
 * made of it. Every label's values are a closed list: no word of an agent's, no host, no session can make a series.
 */
export const egressDecisions = ['allow', 'ask', 'deny'] as const;

/** The checks of the egress proxy that refuse; `rule`: a bound or condition of a policy's own rule. */
export const egressDenials = [
  'egress.default',
  'egress.host',
  'egress.host-mismatch',
  'egress.framing',
  'egress.path',
  'egress.address',
  'egress.changed',
  'turn.none',
  'rule',
  'other',
] as const;
export type EgressDenial = (typeof egressDenials)[number];

export const egressDenialOf = (rule: string): EgressDenial =>
  /^egress\.[0-9]+$/.test(rule) ? 'rule' : (egressDenials.find((known) => known === rule) ?? 'other');

/** Upper bounds in seconds of the histogram of requests; the last bucket has no bound. */
export const egressBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600] as const;

const open = sessionStates.filter((state) => state !== 'ended');

export interface MetricEntry {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Label → every value that it can have. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
}

export const metrics = {
  glovebox_egress_requests_total: {
    kind: 'counter',
    help: 'Requests to the egress proxies of all sessions, by decision.',
    labels: { decision: egressDecisions },
  },
  glovebox_egress_denials_total: {
    kind: 'counter',
    help: 'Requests that were refused, by the check that refused.',
    labels: { check: egressDenials },
  },
  glovebox_egress_failures_total: {
    kind: 'counter',
    help: 'Requests that were let through and failed.',
    labels: {},
  },
  glovebox_egress_bytes_total: {
    kind: 'counter',
    help: 'Bytes of bodies that went out to upstreams and came in from them.',
    labels: { direction: ['out', 'in'] },
  },
  glovebox_egress_request_seconds: {
    kind: 'histogram',
    help: 'From a request’s arrival at the proxy to the last byte of its answer, the upstream’s time included.',
    labels: {},
  },
  glovebox_sessions: {
    kind: 'gauge',
    help: 'Sessions that are not ended, by state.',
    labels: { state: open },
  },
  glovebox_sidecars_warm: {
    kind: 'gauge',
    help: 'Sidecars that wait for a run; with none the next run waits.',
    labels: {},
  },
  glovebox_audit_lag_records: {
    kind: 'gauge',
    help: 'Records that the stream has and the trail has not yet.',
    labels: {},
  },
  glovebox_bus_up: { kind: 'gauge', help: '1: nats-server and its stream answer.', labels: {} },
  glovebox_bus_answer_seconds: {
    kind: 'gauge',
    help: 'How long the stream took to answer when this was asked for.',
    labels: {},
  },
  glovebox_build_info: { kind: 'gauge', help: '1, with the version as a label.', labels: { version: [] } },
} as const satisfies Readonly<Record<string, MetricEntry>>;
export type MetricName = keyof typeof metrics;
