import { addressAllowed } from './address.ts';
import {
  decide,
  decideConnect,
  type CompiledRule,
  type EgressDecision,
  type EgressRequest,
} from './decide.ts';
import type { Inspection } from './body.ts';
import type { Injection } from './injection.ts';

/** A request that somebody asks about, as a client in the sandbox would make it. */
export interface Hypothetical {
  /** `https://host[:port]/path?query`, or `http://…`; written as it is, nothing of it is normalised before the decision. */
  readonly url: string;
  readonly method: string;
  /** Lower-case names. `host` is added where it is missing. */
  readonly headers: EgressRequest['headers'];
  /** What the name would resolve to; null: not asked. */
  readonly addresses: readonly string[] | null;
}

export interface Explanation {
  readonly verdict: 'allow' | 'ask' | 'deny';
  readonly method: string;
  readonly url: string;
  /** `egress.<n>` of the rule that decides, or the name of the check that refuses. */
  readonly rule: string;
  /** Its place in the policy's list; null: no rule of the list. */
  readonly ruleIndex: number | null;
  readonly why: string;
  /** What the agent is told to do about it; null: nothing is in the way. */
  readonly todo: string | null;
  readonly alert: boolean;
  /** The scope of the consent question; null: nobody is asked. */
  readonly scope: string | null;
  readonly credential: { readonly secret: string; readonly place: string } | null;
  /** What more of the request decides, which only the request itself shows. */
  readonly further: readonly string[];
  readonly audited: boolean;
}

/** Null: the text is no address of a kind that the proxy takes. */
export function requestOf(asked: Hypothetical): EgressRequest | null {
  const [, scheme, host = '', portText, target = ''] =
    /^(https?):\/\/([^/?#@:\s]+)(?::([1-9][0-9]{0,4}))?([/?][^#]*)?$/.exec(asked.url) ?? [];
  const port = Number(portText ?? (scheme === 'https' ? '443' : '80'));
  if ((scheme !== 'https' && scheme !== 'http') || port > 65535) return null;
  const authority = portText === undefined ? host : `${host}:${portText}`;
  const named = asked.headers.some(([name]) => name === 'host');
  return {
    scheme,
    connectHost: host,
    connectPort: port,
    sni: scheme === 'https' ? host : null,
    method: asked.method,
    target: target.startsWith('/') ? target : `/${target}`,
    headers: named ? asked.headers : [['host', authority], ...asked.headers],
  };
}

/** What would become of a request, by the function that decides them all. */
export function explain(
  rules: readonly CompiledRule[],
  placeholders: Readonly<Record<string, string>>,
  asked: Hypothetical,
): Explanation | null {
  const request = requestOf(asked);
  if (request === null) return null;
  const { connectHost, connectPort, scheme } = request;
  const decision =
    decideConnect(rules, connectHost, connectPort, scheme) ?? decide(rules, placeholders, request);
  const refusedAddress = addressRefused(decision, asked.addresses);
  return { method: request.method, url: asked.url, ...(refusedAddress ?? words(rules, decision)) };
}

type Words = Omit<Explanation, 'method' | 'url'>;

function words(rules: readonly CompiledRule[], decision: EgressDecision): Words {
  if (decision.decision === 'deny') {
    const index = rules.findIndex(({ id }) => id === decision.rule);
    return { ...nothing, ...decision, verdict: 'deny', ruleIndex: index < 0 ? null : index };
  }
  const ask = decision.decision === 'ask';
  const { rule, inject, inspection, audited } = ask ? decision.allowed : decision;
  return {
    ...nothing,
    verdict: decision.decision,
    rule: rule.id,
    ruleIndex: rules.indexOf(rule),
    why: ask ? 'the rule leaves it to a person' : 'the first rule that fits host, port, method and path',
    todo: ask ? 'Call request_permission with the scope and a reason.' : null,
    scope: ask ? decision.scope : null,
    credential: inject === null ? null : { secret: inject.secret, place: placeOf(inject) },
    further: further(rule, inspection),
    audited: audited || ask,
  };
}

/** The decision comes before the name is resolved; the address is a check of its own (R18). */
function addressRefused(decision: EgressDecision, addresses: readonly string[] | null): Words | null {
  if (decision.decision === 'deny' || addresses === null) return null;
  const { rule } = decision.decision === 'ask' ? decision.allowed : decision;
  const refused = addresses.find((address) => !addressAllowed(address, rule.privateRanges));
  return refused === undefined && addresses.length > 0
    ? null
    : {
        ...nothing,
        verdict: 'deny',
        rule: 'egress.address',
        ruleIndex: null,
        why:
          refused === undefined
            ? 'the name has no address'
            : `the name resolves to ${refused}, which is not public`,
        todo: 'Private addresses are reached only where the policy names their range.',
        alert: true,
      };
}

const nothing = {
  todo: null,
  alert: false,
  scope: null,
  credential: null,
  further: [],
  audited: true,
} as const;

function placeOf({ place, name, form }: Injection): string {
  if (form === 'plain') return `${place} ${name}`;
  return `${place} ${name} (${form})`;
}

function further(rule: CompiledRule, inspection: Inspection): string[] {
  const found: string[] = [];
  if (inspection === 'git-push') found.push('the refs that the push would change');
  if (inspection === 'json') found.push('the JSON body');
  if (rule.maxBody !== undefined) found.push(`a body of at most ${rule.maxBody}`);
  if (rule.perMinute !== undefined) found.push(`at most ${String(rule.perMinute)} requests a minute`);
  if (rule.budget !== undefined) found.push(`${rule.budget} for the session`);
  found.push(
    rule.privateRanges.length === 0
      ? 'the name leads to public addresses only'
      : `the name leads to public addresses, or to ${rule.privateRanges.join(', ')}`,
  );
  return found;
}
