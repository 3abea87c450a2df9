import { toolDefinitions, toolName, toolScope } from '../contracts/index.ts';
import { verdictOfScope } from '../compile/index.ts';
import { decide, matchHost, normaliseHost, type CompiledRule, type EgressRequest } from '../egress/index.ts';
import {
  decidePermission,
  nearest,
  scopeConcerns,
  scopeMatches,
  type PolicyVerdict,
  type Position,
} from '../policy/index.ts';
import { compiledForReview, type PolicySource } from './lint.ts';

/** What an agent might try: a tool call, a request to the outside, or a question to a person. */
export type Attempt =
  | { readonly kind: 'call'; readonly tool: string; readonly args: Readonly<Record<string, unknown>> }
  | {
      readonly kind: 'request';
      readonly method: string;
      readonly url: string;
      readonly headers: readonly (readonly [string, string])[];
    }
  | { readonly kind: 'permission'; readonly scope: string };

export interface Explanation {
  readonly decision: 'allow' | 'ask' | 'deny';
  /** As the audit record names it. */
  readonly rule: string;
  /** Where that rule stands in the document; null: no rule of it decided. */
  readonly place: Position | null;
  readonly scope: string | null;
  readonly why: string;
  /** What comes with it, or what came close. */
  readonly notes: readonly string[];
}

export type Explained =
  { readonly ok: true; readonly explanation: Explanation } | { readonly ok: false; readonly why: string };

/** What would be decided, by the functions that decide. */
export function explain(source: PolicySource, attempt: Attempt): Explained {
  switch (attempt.kind) {
    case 'call':
      return explainCall(source, attempt.tool, attempt.args);
    case 'request':
      return explainRequest(source, attempt);
    case 'permission':
      return explainPermission(source, attempt.scope);
  }
}

/** `tools.allow.2`, `egress.0` → its place. */
function placeOfRule({ placeOf }: PolicySource, rule: string): Position | null {
  if (!/^(tools\.(allow|ask)|egress)\.[0-9]+$/.test(rule)) return null;
  return placeOf(rule.split('.').map((part) => (/^[0-9]+$/.test(part) ? Number(part) : part)));
}

function explainCall(
  source: PolicySource,
  name: string,
  given: Readonly<Record<string, unknown>>,
): Explained {
  const tool = toolDefinitions.find((one) => toolName(one) === name);
  if (tool === undefined) {
    const names = toolDefinitions.map(toolName);
    const known = nearest(name, names);
    return {
      ok: false,
      why: `there is no tool ${name}; ${known === null ? `there are ${names.join(', ')}` : `did you mean ${known}?`}`,
    };
  }
  const args = tool.input.safeParse(given);
  if (!args.success) {
    const [issue] = args.error.issues;
    return {
      ok: false,
      why: `${name}: ${issue?.path.map(String).join('.') ?? ''} ${issue?.message ?? ''}`.trim(),
    };
  }
  const { tools } = source.document;
  const scope = toolScope(tool, args.data);
  const verdict = decidePermission(tools, (pattern) => scopeMatches(pattern, scope));
  const near = [...tools.allow, ...tools.ask].filter((pattern) =>
    scopeConcerns(pattern, tool.domain, tool.scopeVerb),
  );
  const notes =
    verdict.decision !== 'deny'
      ? []
      : near.length === 0
        ? [
            `the agent does not see ${name}: no scope of the policy speaks of ${tool.domain}:${tool.scopeVerb}`,
          ]
        : [`the policy has ${near.join(', ')}`];
  return { ok: true, explanation: ofVerdict(source, scope, verdict, notes) };
}

function explainPermission(source: PolicySource, scope: string): Explained {
  const verdict = verdictOfScope(compiledForReview(source.document), scope);
  return { ok: true, explanation: ofVerdict(source, scope, verdict, []) };
}

function ofVerdict(
  source: PolicySource,
  scope: string,
  { decision, rule }: PolicyVerdict,
  notes: readonly string[],
): Explanation {
  const why = {
    allow: `${rule} takes in ${scope}`,
    ask: `${rule} takes in ${scope}: a person is asked, unless they granted it`,
    deny: `no rule takes in ${scope}`,
  }[decision];
  return { decision, rule, place: placeOfRule(source, rule), scope, why, notes };
}

function explainRequest(source: PolicySource, attempt: Attempt & { readonly kind: 'request' }): Explained {
  const [, scheme = '', host = '', portText, target = ''] =
    /^(https?):\/\/([^/?#:@]+)(?::([0-9]{1,5}))?([/?].*)?$/.exec(attempt.url) ?? [];
  if (scheme !== 'http' && scheme !== 'https')
    return { ok: false, why: `${attempt.url} is no address such as https://host.example/path` };
  const port = Number(portText ?? (scheme === 'https' ? '443' : '80'));
  const request: EgressRequest = {
    scheme,
    connectHost: host,
    connectPort: port,
    sni: scheme === 'https' ? host.toLowerCase() : null,
    method: attempt.method,
    target: target.startsWith('/') ? target : `/${target}`,
    headers: [
      ['host', portText === undefined ? host : `${host}:${portText}`],
      ...attempt.headers.map(([name, value]) => [name.toLowerCase(), value] as const),
    ],
  };
  const { egress, placeholders } = compiledForReview(source.document);
  const decided = decide(egress, placeholders, request);
  if (decided.decision === 'deny') {
    const { rule, why } = decided;
    const notes = rule === 'egress.default' ? cameClose(egress, source, request) : [decided.todo];
    const place = placeOfRule(source, rule);
    return { ok: true, explanation: { decision: 'deny', rule, place, scope: null, why, notes } };
  }
  const { rule } = decided;
  return {
    ok: true,
    explanation: {
      decision: decided.decision,
      rule: rule.id,
      place: placeOfRule(source, rule.id),
      scope: decided.decision === 'ask' ? decided.scope : null,
      why: `${rule.id} is the first that fits ${attempt.method} ${host.toLowerCase()}`,
      notes: comesWith(rule),
    },
  };
}

function comesWith(rule: CompiledRule): readonly string[] {
  const { credential } = rule;
  const body = [
    ...(rule.git === undefined ? [] : ['the refs of a push']),
    ...(rule.graphql === undefined ? [] : ['the GraphQL of the body']),
    ...(rule.jsonrpc === undefined ? [] : ['the JSON-RPC of the body']),
  ];
  return [
    ...(credential === undefined
      ? []
      : [`the credential ${credential.secret} is put in as ${credential.carrier}`]),
    ...(rule.decision === 'ask' ? ['a person is asked, unless they granted it'] : []),
    ...body.map((what) => `${what} decides too, which is not looked at here`),
    ...(rule.perMinute === undefined ? [] : [`at most ${String(rule.perMinute)} requests a minute`]),
    ...(rule.budget === undefined ? [] : [`at most ${rule.budget} in a session`]),
  ];
}

/** Rules for the host that fail in something else: what a person has to look at. */
function cameClose(
  rules: readonly CompiledRule[],
  source: PolicySource,
  request: EgressRequest,
): readonly string[] {
  const host = normaliseHost(request.connectHost);
  if (!host.ok) return [];
  return rules
    .filter((rule) => matchHost(rule.host, host.value))
    .map((rule) => {
      const line = placeOfRule(source, rule.id)?.line ?? 0;
      const lacks =
        rule.port !== request.connectPort
          ? `it is for port ${String(rule.port)}`
          : rule.plaintext !== (request.scheme === 'http')
            ? `it is for ${rule.plaintext ? 'http' : 'https'}`
            : !rule.methods.includes(request.method)
              ? `it takes ${rule.methods.join(', ')}`
              : `its paths are ${rule.paths.join(', ')}`;
      return `${rule.id} at line ${String(line)} is for this host, but ${lacks}`;
    });
}
