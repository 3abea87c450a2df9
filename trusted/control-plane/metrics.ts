import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  egressBuckets,
  metrics as table,
  type EgressCounts,
  type MetricName,
} from '../../pure/contracts/index.ts';

export interface MetricsOptions {
  readonly version: string;
  /** States of the sessions that are not ended. */
  readonly sessions: () => Promise<readonly string[]>;
  readonly warmSidecars: () => number;
  /** The last sequence of the audit stream, and of the trail. */
  readonly streamEnd: () => Promise<number>;
  readonly trailEnd: () => Promise<number>;
  readonly now: () => number;
  /** How long an answer of the bus is waited for, in ms. */
  readonly busWait: number;
}

/** The numbers of this control plane and its sidecars. Nothing of it decides anything. */
export class Metrics {
  readonly #options: MetricsOptions;
  readonly #registry = new Registry();
  readonly #counters = new Map<MetricName, Counter>();
  readonly #gauges = new Map<MetricName, Gauge>();
  readonly #seconds: Histogram;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const registers = [this.#registry];
    for (const [text, { kind, help, labels }] of Object.entries(table)) {
      const name = text as MetricName;
      const labelNames = Object.keys(labels);
      if (kind === 'counter') this.#counters.set(name, new Counter({ name, help, labelNames, registers }));
      else if (kind === 'gauge') this.#gauges.set(name, new Gauge({ name, help, labelNames, registers }));
    }
    const name = 'glovebox_egress_request_seconds';
    this.#seconds = new Histogram({ name, help: table[name].help, buckets: [...egressBuckets], registers });
    // A series that is there from the start shows its first step.
    for (const [counter, { labels }] of Object.entries(table)) {
      for (const [label, values] of Object.entries(labels) as [string, readonly string[]][])
        for (const value of values) this.#counters.get(counter as MetricName)?.inc({ [label]: value }, 0);
    }
    this.#set('glovebox_build_info', 1, { version: options.version });
  }

  /** What a sidecar reported: added up, whose it was is not kept. */
  counted(counts: EgressCounts): void {
    for (const [decision, count] of Object.entries(counts.requests))
      this.#add('glovebox_egress_requests_total', count, { decision });
    for (const [check, count] of Object.entries(counts.denials))
      this.#add('glovebox_egress_denials_total', count, { check });
    this.#add('glovebox_egress_failures_total', counts.failures);
    this.#add('glovebox_egress_bytes_total', counts.sent, { direction: 'out' });
    this.#add('glovebox_egress_bytes_total', counts.received, { direction: 'in' });
    // Each at the mean of its bucket: buckets and sum come out as they were counted.
    for (const { count, sum } of counts.seconds)
      for (let n = 0; n < count; n += 1) this.#seconds.observe(sum / count);
  }

  /** Prometheus' text format. */
  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    await Promise.all([this.#measureSessions(), this.#measureBus()]);
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  async #measureSessions(): Promise<void> {
    const states = await this.#options.sessions();
    for (const state of table.glovebox_sessions.labels.state)
      this.#set('glovebox_sessions', states.filter((one) => one === state).length, { state });
    this.#set('glovebox_sidecars_warm', this.#options.warmSidecars());
  }

  /** A bus that does not answer is a number, not an error. */
  async #measureBus(): Promise<void> {
    const { streamEnd, trailEnd, now, busWait } = this.#options;
    const began = now();
    const end = await inTime(streamEnd(), busWait);
    this.#set('glovebox_bus_up', end === null ? 0 : 1);
    this.#set('glovebox_bus_answer_seconds', (now() - began) / 1000);
    if (end === null) return;
    this.#set('glovebox_audit_lag_records', Math.max(0, end - (await trailEnd())));
  }

  #add(name: MetricName, value: number, labels: Readonly<Record<string, string>> = {}): void {
    this.#counters.get(name)?.inc(labels, value);
  }

  #set(name: MetricName, value: number, labels: Readonly<Record<string, string>> = {}): void {
    this.#gauges.get(name)?.set(labels, value);
  }
}

async function inTime<T>(work: Promise<T>, ms: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  try {
    return await Promise.race([work.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}
