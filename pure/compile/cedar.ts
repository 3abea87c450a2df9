import { GloveboxError } from '../contracts/index.ts';
import { parseScope, parseScopePattern, type ScopePattern, type PolicyQuestion } from '../policy/index.ts';

/**
 * Cedar for the operations of a session. One request shape: principal `Session::"<id>"`, action `Action::"call"`, resource
 * `Operation::"<domain>:<verb>"`, context `{ user, granted, domain, verb, depth, s0, s1, …, e0, e1, … }`: the path's
 * segments from its start (`s`) and from its end (`e`). With segments apart, Cedar's `like`, whose `*` crosses slashes, says
 * exactly what a scope pattern says.
 */
export function compileCedar(tools: {
  readonly allow: readonly string[];
  readonly ask: readonly string[];
}): string {
  const allow = tools.allow.map((pattern, index) => permit(`tools.allow.${index}`, pattern, []));
  // What needs consent is permitted to a call that has a grant, and to no other.
  const ask = tools.ask.map((pattern, index) => permit(`tools.ask.${index}`, pattern, ['context.granted']));
  return [...allow, ...ask].join('\n');
}

function permit(id: string, pattern: string, also: readonly string[]): string {
  const parsed = parseScopePattern(pattern);
  if (parsed === undefined) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The scope ${pattern}`,
      detail: `it is no pattern (${id})`,
    });
  }
  const conditions = [...also, ...conditionsOf(parsed)];
  return `@id(${quoted(id)})\npermit (principal is Session, action == Action::"call", resource is Operation)\nwhen { ${conditions.join(' && ')} };`;
}

function conditionsOf({ domain, verb, prefix, suffix }: ScopePattern): string[] {
  const depth = prefix.length + (suffix?.length ?? 0);
  return [
    `context.domain == ${quoted(domain)}`,
    ...(verb === null ? [] : [`context.verb == ${quoted(verb)}`]),
    `context.depth ${suffix === null ? '==' : '>='} ${depth}`,
    ...prefix.flatMap((segment, index) => segmentIs(`s${index}`, segment)),
    ...(suffix ?? []).flatMap((segment, index, all) => segmentIs(`e${all.length - 1 - index}`, segment)),
  ];
}

const segmentIs = (name: string, segment: string): string[] => [
  `context has ${name}`,
  segment.includes('*')
    ? `context.${name} like ${segment.split('*').map(quoted).join('*').replaceAll('"*"', '*')}`
    : `context.${name} == ${quoted(segment)}`,
];

/** A Cedar string. A scope holds no control characters and no backslash; what is not ASCII is escaped all the same. */
const quoted = (text: string): string =>
  `"${text.replace(/["\\]|[^\x20-\x7e]/gu, (c) => (c === '"' || c === '\\' ? `\\${c}` : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`))}"`;

export interface CedarRequest {
  readonly principal: { readonly type: 'Session'; readonly id: string };
  readonly action: { readonly type: 'Action'; readonly id: 'call' };
  readonly resource: { readonly type: 'Operation'; readonly id: string };
  readonly context: Record<string, string | number | boolean>;
  readonly entities: [];
}

/** Undefined: the scope cannot be read, which no policy permits. */
export function cedarRequest(question: PolicyQuestion, granted: boolean): CedarRequest | undefined {
  const scope = parseScope(question.scope);
  if (scope === undefined) return undefined;
  const { domain, verb, segments } = scope;
  const context: Record<string, string | number | boolean> = {
    user: question.user,
    granted,
    domain,
    verb,
    depth: segments.length,
  };
  for (const [index, segment] of segments.entries()) {
    context[`s${index}`] = segment;
    context[`e${segments.length - 1 - index}`] = segment;
  }
  return {
    principal: { type: 'Session', id: question.sessionId },
    action: { type: 'Action', id: 'call' },
    resource: { type: 'Operation', id: `${domain}:${verb}` },
    context,
    entities: [],
  };
}
