import type { SidecarPolicy } from '../../pure/contracts/index.ts';
import { verdictOfScope } from '../../pure/compile/index.ts';
import type { PolicyEngine, PolicyQuestion, PolicyVerdict } from '../../pure/policy/index.ts';
import type { Grants } from './grants.ts';

/** Makes the engine for one generation of a policy; throws where that cannot be prepared. */
export type PrepareEngine = (policy: SidecarPolicy) => PolicyEngine;

/** A policy and the engine that was prepared for it: one value, so that nothing is ever decided by half of each. */
interface Applied {
  readonly policy: SidecarPolicy;
  readonly engine: PolicyEngine;
}

/**
 * The policy that holds now. Everything that decides asks here, each time: tools, scopes, egress and engine change in one step,
 * between two decisions.
 */
export class LivePolicy implements PolicyEngine {
  readonly #prepare: PrepareEngine;
  #applied: Applied;

  constructor(policy: SidecarPolicy, prepare: PrepareEngine) {
    this.#prepare = prepare;
    this.#applied = { policy, engine: prepare(policy) };
  }

  get generation(): number {
    return this.#applied.policy.generation;
  }

  get tools(): SidecarPolicy['tools'] {
    return this.#applied.policy.tools;
  }

  get egress(): SidecarPolicy['egress'] {
    return this.#applied.policy.egress;
  }

  get placeholders(): SidecarPolicy['placeholders'] {
    return this.#applied.policy.placeholders;
  }

  decide(question: PolicyQuestion): Promise<PolicyVerdict> {
    return this.#applied.engine.decide(question);
  }

  /** What a person may be asked for, or was. */
  verdictOf(scope: string): ReturnType<typeof verdictOfScope> {
    return verdictOfScope(this.#applied.policy, scope);
  }

  /**
   * A later generation takes the place of this one; an earlier one, or this one again, changes nothing (a signed word that was
   * delayed must not bring back what was taken away). Grants for what is left to a person no longer are void: widening the policy
   * again does not bring them back. Throws where the policy cannot be prepared.
   */
  apply(next: SidecarPolicy, grants: Pick<Grants, 'keepOnly'>): boolean {
    if (next.generation <= this.generation) return false;
    this.#applied = { policy: next, engine: this.#prepare(next) };
    grants.keepOnly((scope) => this.verdictOf(scope).decision !== 'deny');
    return true;
  }
}
