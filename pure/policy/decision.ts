import type { GrantId } from '../contracts/index.ts';

/** What a policy engine is asked: one exact scope, by one user, in one session. */
export interface PolicyQuestion {
  readonly sessionId: string;
  readonly user: string;
  readonly scope: string;
}

/** `rule` names what decided, for the audit record and the refusal. */
export interface PolicyVerdict {
  readonly decision: 'allow' | 'ask' | 'deny';
  readonly rule: string;
}

/** The engines: Cedar here, OPA later. One that fails, in any way, has said deny. */
export interface PolicyEngine {
  decide(question: PolicyQuestion): Promise<PolicyVerdict>;
}

export type OperationDecision =
  | { readonly decision: 'allow'; readonly rule: string; readonly grant: GrantId | null }
  | { readonly decision: 'ask'; readonly rule: string }
  | { readonly decision: 'deny'; readonly rule: string };

/**
 * The decision on one operation: a person behind it, then the policy, then consent where the policy asks for it. `takeGrant` is
 * called at most once, and only where a grant decides: it spends.
 */
export function decideOperation(input: {
  readonly person: boolean;
  readonly verdict: PolicyVerdict;
  readonly takeGrant: () => GrantId | null;
}): OperationDecision {
  const { verdict } = input;
  // Every operation has a person behind it; without an open turn there is none.
  if (!input.person) return { decision: 'deny', rule: 'turn.none' };
  switch (verdict.decision) {
    case 'allow':
      return { decision: 'allow', rule: verdict.rule, grant: null };
    case 'ask': {
      const grant = input.takeGrant();
      return grant === null
        ? { decision: 'ask', rule: verdict.rule }
        : { decision: 'allow', rule: verdict.rule, grant };
    }
    case 'deny':
      return { decision: 'deny', rule: verdict.rule };
  }
}

/** What `request_permission` may lead to: a person is only asked for what the policy leaves to a person. */
export function decidePermission(
  tools: { readonly allow: readonly string[]; readonly ask: readonly string[] },
  covers: (pattern: string) => boolean,
): PolicyVerdict {
  const allowed = tools.allow.findIndex(covers);
  if (allowed !== -1) return { decision: 'allow', rule: `tools.allow.${allowed}` };
  const asked = tools.ask.findIndex(covers);
  if (asked !== -1) return { decision: 'ask', rule: `tools.ask.${asked}` };
  return { decision: 'deny', rule: 'tools.none' };
}
