import { egressBuckets, egressDenialOf, type EgressCounts } from '../../pure/contracts/index.ts';
import type { EgressTraffic } from '../egress/index.ts';

/** Counts what the egress proxy does, for the control plane's metrics: also what gets no record of its own. */
export class EgressCounter {
  #counts = nothing();
  #changed = false;

  decided(decision: 'allow' | 'ask' | 'deny', rule: string): void {
    this.#changed = true;
    this.#counts.requests[decision] += 1;
    if (decision !== 'deny') return;
    const check = egressDenialOf(rule);
    this.#counts.denials[check] = (this.#counts.denials[check] ?? 0) + 1;
  }

  over(ok: boolean, traffic: EgressTraffic | undefined): void {
    this.#changed = true;
    if (!ok) this.#counts.failures += 1;
    if (traffic === undefined) return;
    this.#counts.sent += traffic.sent;
    this.#counts.received += traffic.received;
    const seconds = Math.max(0, traffic.ms / 1000);
    const index = egressBuckets.findIndex((bound) => seconds <= bound);
    const bucket = this.#counts.seconds.at(index);
    if (bucket === undefined) return;
    bucket.count += 1;
    bucket.sum += seconds;
  }

  /** Since the last time; null: nothing. */
  take(): EgressCounts | null {
    if (!this.#changed) return null;
    const counts = this.#counts;
    this.#counts = nothing();
    this.#changed = false;
    return counts;
  }
}

const nothing = (): EgressCounts => ({
  requests: { allow: 0, ask: 0, deny: 0 },
  denials: {},
  failures: 0,
  sent: 0,
  received: 0,
  seconds: Array.from({ length: egressBuckets.length + 1 }, () => ({ count: 0, sum: 0 })),
});
