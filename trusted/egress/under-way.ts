import { decide, type EgressRequest } from '../../pure/egress/index.ts';
import type { EgressOptions, TakenGrant } from './port.ts';

/** A request from its decision to its last byte. */
export interface UnderWay {
  readonly question: EgressRequest;
  /** What the policy said of it when it was let through; null: not decided yet. */
  decided: 'allow' | 'ask' | null;
  cut: boolean;
  /** By which consent it goes out. */
  grant: TakenGrant | null;
  /** That was taken back. */
  revoked: boolean;
  readonly end: () => void;
}

/** Requests that were let through and are not over: a change of policy reaches them too. */
export class RequestsUnderWay {
  readonly #policy: EgressOptions['policy'];
  readonly #open = new Set<UnderWay>();

  constructor(policy: EgressOptions['policy']) {
    this.#policy = policy;
  }

  begin(question: EgressRequest, end: () => void): UnderWay {
    const begun: UnderWay = { question, decided: null, cut: false, grant: null, revoked: false, end };
    this.#open.add(begun);
    return begun;
  }

  over(request: UnderWay): void {
    request.grant?.over();
    this.#open.delete(request);
  }

  /** Cuts what the policy now refuses, or now leaves to a person though nobody was asked; says what and by which rule. */
  recheck(): readonly { readonly question: EgressRequest; readonly rule: string }[] {
    const refused = [];
    for (const request of this.#open) {
      const now = decide(this.#policy.egress, this.#policy.placeholders, request.question);
      if (now.decision === 'allow' || (now.decision === 'ask' && request.decided !== 'allow')) continue;
      request.cut = true;
      request.end();
      this.#open.delete(request);
      refused.push({ question: request.question, rule: now.decision === 'ask' ? now.rule.id : now.rule });
    }
    return refused;
  }
}
