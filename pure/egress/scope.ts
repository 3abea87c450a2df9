import type { CompiledRule } from './decide.ts';
import { matchHost, normaliseHost } from './host.ts';
import { matchPath, normalisePath } from './path.ts';

/**
 * The scope of one request: `egress:<method>:/<host>[:<port>]<path>`, the port where it is not 443. What has a meaning of its own in
 * scopes is escaped: `*`, and a slash at the end (an encoded slash is in no path that was let through).
 */
export function egressScope(method: string, host: string, port: number, path: string): string {
  const place = port === 443 ? host : `${host}:${String(port)}`;
  return `egress:${method.toLowerCase()}:/${place}${path.replaceAll('*', '%2A').replace(/\/$/, '/%2F')}`;
}

/** What the rules say of a scope that an agent asks for: the rule that decides, and the host to show. Null: none, or no scope of this kind. */
export function ruleOfScope(
  rules: readonly CompiledRule[],
  scope: string,
): { readonly decision: 'allow' | 'ask'; readonly rule: string; readonly host: string } | null {
  const [, method = '', place = '', portText, rest = ''] =
    /^egress:([a-z]{3,10}):\/([^/:]+)(?::([1-9][0-9]{0,4}))?(\/.*)$/.exec(scope) ?? [];
  const port = Number(portText ?? '443');
  const host = normaliseHost(place);
  const path = normalisePath(rest.replace(/\/%2F$/, '/'));
  if (!host.ok || !path.ok) return null;
  // One spelling: a scope that is not written as this function's sibling writes it is not the scope of any request.
  if (egressScope(method, host.value, port, path.value) !== scope) return null;
  const rule = rules.find(
    (candidate) =>
      candidate.port === port &&
      matchHost(candidate.host, host.value) &&
      candidate.methods.includes(method.toUpperCase()) &&
      candidate.paths.some((pattern) => matchPath(pattern, path.value)),
  );
  return rule === undefined ? null : { decision: rule.decision, rule: rule.id, host: host.value };
}
