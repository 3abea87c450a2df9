import { Transform, type TransformCallback } from 'node:stream';
import { bytesOf, type CompiledRule } from '../../pure/egress/index.ts';

/** A rule's bytes or requests are used up. */
export class BudgetSpent extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'BudgetSpent';
  }
}

interface Use {
  bytes: number;
  /** When the latest requests were let through, in ms of a steady clock; the oldest first. */
  readonly at: number[];
}

/** What a session has used of each rule's `perMinute` and `budget`: a tunnel over an allowed host has the rate that the policy gives it. */
export class Budgets {
  readonly #used = new Map<string, Use>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Counts a request; what is wrong with it, or null. */
  request(rule: CompiledRule): string | null {
    if (rule.perMinute === undefined && rule.budget === undefined) return null;
    const use = this.#of(rule);
    if (rule.budget !== undefined && use.bytes >= bytesOf(rule.budget))
      return `the rule's ${rule.budget} for this session are used up`;
    if (rule.perMinute === undefined) return null;
    const now = this.#now();
    while (use.at[0] !== undefined && now - use.at[0] >= 60_000) use.at.shift();
    if (use.at.length >= rule.perMinute)
      return `more than ${String(rule.perMinute)} requests within a minute`;
    use.at.push(now);
    return null;
  }

  /** Counts bytes on their way through; null where the rule bounds none. `most`: of this one body. */
  counter(rule: CompiledRule, most: string | undefined): Transform | null {
    if (rule.budget === undefined && most === undefined) return null;
    const use = this.#of(rule);
    const limit = rule.budget === undefined ? Infinity : bytesOf(rule.budget);
    const mostBytes = most === undefined ? Infinity : bytesOf(most);
    let bytes = 0;
    return new Transform({
      transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
        bytes += chunk.length;
        use.bytes += chunk.length;
        // Not in this turn: Node 20 loses the reset of an HTTP/2 stream whose head is still being sent.
        const cut = (what: string): void => void setImmediate(done, new BudgetSpent(what));
        if (bytes > mostBytes) cut(`the body is larger than the rule allows (${most ?? ''})`);
        else if (use.bytes > limit) cut(`the rule's ${rule.budget ?? ''} for this session are used up`);
        else done(null, chunk);
      },
    });
  }

  #of(rule: CompiledRule): Use {
    const use = this.#used.get(rule.id) ?? { bytes: 0, at: [] };
    this.#used.set(rule.id, use);
    return use;
  }
}
