import { hostPattern, type EgressRule } from '../contracts/index.ts';
import { decide, decideConnect, longestRulePath, type CompiledRule } from './decide.ts';
import { requestOf } from './explain.ts';
import { normaliseHost } from './host.ts';
import { normalisePath } from './path.ts';

/** A request that was refused, as the audit trail has it. */
export interface Refused {
  /** `CONNECT` where no request was seen. */
  readonly method: string;
  readonly url: string;
  readonly rule: string;
}

/** A rule for a person to accept: what was seen, and nothing wider. No credential and no private range is ever in it. */
export type SuggestedRule = Pick<EgressRule, 'host' | 'methods' | 'paths'> &
  Partial<Pick<EgressRule, 'port' | 'plaintext' | 'decision' | 'git'>>;

export interface Suggestion {
  readonly rules: readonly SuggestedRule[];
  /** What was refused and has no rule here, with the reason. */
  readonly left: readonly { readonly method: string; readonly url: string; readonly why: string }[];
}

interface Seen {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** Null: only the connection was seen. */
  readonly path: string | null;
}

/**
 * The smallest rules that would have let through what no rule named. What another check refused (a private address, a misplaced
 * placeholder, a rule's own bound) no rule should mend: it is left, with its reason.
 */
export function suggest(
  rules: readonly CompiledRule[],
  refused: readonly Refused[],
  most: number,
): Suggestion {
  const left = new Map<string, Suggestion['left'][number]>();
  const seen = new Map<string, Seen>();
  for (const one of refused) {
    const key = `${one.method} ${one.url}`;
    const read = one.rule === 'egress.default' ? seenOf(rules, one) : reasonOf(one.rule);
    if (read === null) continue;
    if (typeof read !== 'string' && seen.size < most) seen.set(key, read);
    else if (left.size < most)
      left.set(key, {
        method: one.method,
        url: one.url,
        why: typeof read === 'string' ? read : 'there are too many to list',
      });
  }
  return { rules: byPlace([...seen.values()]).flatMap(rulesOf), left: [...left.values()] };
}

/** Null: the policy of now lets it through, or leaves it to a person. */
function seenOf(rules: readonly CompiledRule[], { method, url }: Refused): Seen | string | null {
  const request = requestOf({ url, method, headers: [], addresses: null });
  const host = normaliseHost(request?.connectHost ?? '');
  if (request === null || !host.ok || !hostPattern.safeParse(host.value).success)
    return 'it is not a place that a rule can name';
  const { scheme, connectPort: port } = request;
  const place = { scheme, host: host.value, port };
  if (method === 'CONNECT')
    return decideConnect(rules, host.value, port, scheme) === null ? null : { ...place, method, path: null };
  if (decide(rules, {}, request).decision !== 'deny') return null;
  const path = normalisePath(request.target);
  if (!path.ok) return path.why;
  if (!/^[A-Z]{3,10}$/.test(method)) return 'its method is not one that a rule can name';
  if (path.value.length > longestRulePath) return 'its path is longer than a rule’s may be';
  // In a rule `*` is any text: the rule would be wider than what was seen.
  if (path.value.includes('*')) return 'its path has an asterisk, which a rule would read as any text';
  if (path.value.endsWith('/git-receive-pack'))
    return 'a push is allowed by repository and ref: write that rule yourself';
  return { ...place, method, path: path.value };
}

function reasonOf(rule: string): string {
  if (rule === 'egress.address')
    return 'it leads to an address that is not public: the policy has to name the range';
  if (/^egress\.[0-9]+$/.test(rule))
    return `a bound of the rule ${rule} refused it: change that rule yourself`;
  if (rule === 'turn.none') return 'no person’s turn was open';
  return `${rule} refused it, which no rule changes`;
}

function byPlace(all: readonly Seen[]): readonly (readonly Seen[])[] {
  const groups = new Map<string, Seen[]>();
  for (const one of all) {
    const place = `${one.scheme}://${one.host}:${String(one.port)}`;
    groups.set(place, [...(groups.get(place) ?? []), one]);
  }
  return [...groups.values()];
}

/** Of one host and port. Paths with the same methods share a rule: methods times paths is then exactly what was seen. */
function rulesOf(seen: readonly Seen[]): SuggestedRule[] {
  const [first] = seen;
  if (first === undefined) return [];
  const { scheme, host, port } = first;
  const place = {
    host,
    ...(port === (scheme === 'https' ? 443 : -1) ? {} : { port }),
    ...(scheme === 'http' ? { plaintext: true } : {}),
  };
  const requests = seen.filter((one): one is Seen & { path: string } => one.path !== null);
  // Of a connection alone nobody knows what it was for: each of its requests is a question to a person.
  if (requests.length === 0)
    return [{ ...place, methods: ['GET', 'HEAD', 'OPTIONS'], paths: ['/**'], decision: 'ask' }];
  const methodsOf = new Map<string, Set<string>>();
  for (const { path, method } of requests)
    methodsOf.set(path, (methodsOf.get(path) ?? new Set()).add(method));
  const rules = new Map<string, { methods: string[]; paths: string[]; git: boolean }>();
  for (const [path, found] of methodsOf) {
    const methods = [...found].sort();
    const git = /\/(info\/refs|git-upload-pack)$/.test(path);
    const key = `${String(git)} ${methods.join(' ')}`;
    const rule = rules.get(key) ?? { methods, paths: [], git };
    rule.paths.push(path);
    rules.set(key, rule);
  }
  return [...rules.values()].map(({ methods, paths, git }) => ({
    ...place,
    methods,
    paths: paths.sort(),
    ...(git ? { git: { fetch: true, push: [], force: false, delete: false } } : {}),
  }));
}
