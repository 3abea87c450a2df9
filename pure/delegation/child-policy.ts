import { canonicalJson, scopeCovers } from '../policy/index.ts';
import type { EgressRule, PolicyDocument } from '../contracts/index.ts';
import { hostCovers, pathCovers } from '../egress/index.ts';

type Tools = PolicyDocument['tools'];

/**
 * What of a child's own policy its parent's has too: never more than either (R40). Scopes and rules of the child that are not
 * wholly within the parent's are left out, and named, so that nobody wonders later. May leave out what a cleverer comparison would
 * keep; keeps nothing that the parent lacks. What consents in the parent asks in the child.
 */
export function childPolicy(
  parent: Pick<PolicyDocument, 'tools' | 'egress'>,
  wanted: Pick<PolicyDocument, 'tools' | 'egress'>,
): Pick<PolicyDocument, 'tools' | 'egress'> & { readonly leftOut: readonly string[] } {
  const tools = childTools(parent.tools, wanted.tools);
  const egress: EgressRule[] = [];
  const without: EgressRule[] = [];
  for (const rule of wanted.egress) {
    // What a rule that is left out would have decided must not fall to a later one, which may say more.
    const kept = without.some((earlier) => rulesMeet(earlier, rule)) ? null : childRule(parent.egress, rule);
    if (kept === null) without.push(rule);
    else egress.push(kept);
  }
  const scopes = [...tools.allow, ...tools.ask];
  const leftOut = [...wanted.tools.allow, ...wanted.tools.ask].filter((scope) => !scopes.includes(scope));
  return { tools, egress, leftOut: [...leftOut, ...without.map(({ host }) => host)] };
}

function childTools(parent: Tools, wanted: Tools): Tools {
  const within = (patterns: readonly string[], scope: string): boolean =>
    patterns.some((wide) => scopeCovers(wide, scope));
  const allowed = (scope: string): boolean => within(parent.allow, scope);
  const all = [...parent.allow, ...parent.ask];
  return {
    allow: wanted.allow.filter(allowed),
    ask: [...wanted.allow.filter((scope) => !allowed(scope)), ...wanted.ask].filter((scope) =>
      within(all, scope),
    ),
  };
}

/**
 * The first rule of the parent's that any request of this one could be decided by has to take in all of them, and to say the same
 * of credentials, bodies, budgets: then the child's request is one that the parent could have made. Null: left out.
 */
function childRule(parent: readonly EgressRule[], rule: EgressRule): EgressRule | null {
  const decider = parent.find((one) => rulesMeet(one, rule));
  if (decider === undefined || !hostCovers(decider.host, rule.host)) return null;
  if (!rule.methods.every((method) => decider.methods.includes(method))) return null;
  if (!rule.paths.every((path) => decider.paths.some((wide) => pathCovers(wide, path)))) return null;
  if (canonicalJson(conditions(rule)) !== canonicalJson(conditions(decider))) return null;
  return { ...rule, decision: decider.decision === 'ask' ? 'ask' : rule.decision };
}

/** May one request fit both? */
const rulesMeet = (one: EgressRule, other: EgressRule): boolean =>
  one.port === other.port &&
  one.plaintext === other.plaintext &&
  hostsMeet(one.host, other.host) &&
  methodsMeet(one, other);

/** Of patterns with one wildcard at the start, two that share a host contain each other one way or the other. */
const hostsMeet = (one: string, other: string): boolean => hostCovers(one, other) || hostCovers(other, one);
const methodsMeet = (one: EgressRule, other: EgressRule): boolean =>
  one.grpc !== undefined ||
  other.grpc !== undefined ||
  one.methods.some((method) => other.methods.includes(method));

/** All that a rule says beyond where and how it is asked. */
function conditions({
  host: _host,
  methods: _methods,
  paths: _paths,
  decision: _decision,
  ...rest
}: EgressRule): unknown {
  return rest;
}
