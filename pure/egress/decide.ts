import type { SidecarPolicy } from '../contracts/index.ts';
import { carriedCredential, placeholderOutside } from './credentials.ts';
import { matchHost, normaliseHost } from './host.ts';
import { matchPath, normalisePath } from './path.ts';
import { egressScope } from './scope.ts';

export type CompiledRule = SidecarPolicy['egress'][number];

/** One request as the proxy has read it. Header names are lower case, in wire order, duplicates kept. */
export interface EgressRequest {
  readonly scheme: 'https' | 'http';
  /** CONNECT's host and port, or those of an absolute-form target. */
  readonly connectHost: string;
  readonly connectPort: number;
  /** TLS server name; null on plain HTTP. */
  readonly sni: string | null;
  readonly method: string;
  /** Origin form: path and query. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
}

export type EgressDecision =
  | {
      readonly decision: 'allow';
      readonly rule: CompiledRule;
      readonly path: string;
      readonly inject: Injection | null;
      readonly audited: boolean;
    }
  | {
      readonly decision: 'ask';
      readonly rule: CompiledRule;
      readonly scope: string;
      readonly allowed: EgressDecision;
    }
  | {
      readonly decision: 'deny';
      readonly rule: string;
      readonly why: string;
      readonly todo: string;
      readonly alert: boolean;
    };

/** The header to set, and how; headers of that name that the request has are removed. */
export interface Injection {
  readonly secret: string;
  readonly header: string;
  readonly prefix: string;
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);
const overrides = ['x-http-method-override', 'x-http-method', 'x-method-override'];

const deny = (
  rule: string,
  why: string,
  todo = 'Ask the person to add an egress rule to the policy.',
  alert = false,
): EgressDecision => ({
  decision: 'deny',
  rule,
  why,
  todo,
  alert,
});

/** Before any TLS: is there a rule for this host and port at all? Nothing is resolved for a name that is on none. */
export function decideConnect(
  rules: readonly CompiledRule[],
  host: string,
  port: number,
  scheme: 'https' | 'http',
): EgressDecision | null {
  const name = normaliseHost(host);
  if (!name.ok) return deny('egress.host', name.why, 'Use a host name that a rule of the policy allows.');
  const known = rules.some(
    (rule) =>
      rule.port === port && rule.plaintext === (scheme === 'http') && matchHost(rule.host, name.value),
  );
  return known ? null : deny('egress.default', `no rule allows ${scheme}://${name.value}:${String(port)}`);
}

/**
 * The decision for one request (R40). The first rule whose host, port, method and path fit decides; no rule, or any doubt, denies.
 * `placeholders`: secret name → the text that stands for it in the sandbox.
 */
export function decide(
  rules: readonly CompiledRule[],
  placeholders: Readonly<Record<string, string>>,
  request: EgressRequest,
): EgressDecision {
  const refusedConnect = decideConnect(rules, request.connectHost, request.connectPort, request.scheme);
  if (refusedConnect !== null) return refusedConnect;
  const host = normaliseHost(request.connectHost);
  if (!host.ok) return deny('egress.host', host.why);
  const wrongHost = hostsDisagree(request, host.value);
  if (wrongHost !== null)
    return deny(
      'egress.host-mismatch',
      wrongHost,
      'Send each request to the host that was connected to.',
      true,
    );
  const smuggled = framingProblem(request.headers);
  if (smuggled !== null) return deny('egress.framing', smuggled, 'Send one unambiguous request.');
  const question = request.target.indexOf('?');
  const path = normalisePath(question < 0 ? request.target : request.target.slice(0, question));
  if (!path.ok) return deny('egress.path', path.why, 'Send the path in its plain form.');
  const query = question < 0 ? '' : request.target.slice(question);
  if (!/^[\x21-\x7e]*$/.test(query) || query.includes('#'))
    return deny('egress.path', 'the query has characters that belong percent-encoded');
  const rule = rules.find(
    (candidate) =>
      candidate.port === request.connectPort &&
      candidate.plaintext === (request.scheme === 'http') &&
      matchHost(candidate.host, host.value) &&
      candidate.methods.includes(request.method) &&
      candidate.paths.some((pattern) => matchPath(pattern, path.value)),
  );
  if (rule === undefined)
    return deny('egress.default', `no rule allows ${request.method} ${host.value}${path.value}`);
  const allowed = withCredentials(rule, placeholders, request, path.value + query);
  if (allowed.decision !== 'allow' || rule.decision === 'allow') return allowed;
  return {
    decision: 'ask',
    rule,
    scope: egressScope(request.method, host.value, request.connectPort, path.value),
    allowed,
  };
}

function withCredentials(
  rule: CompiledRule,
  placeholders: Readonly<Record<string, string>>,
  request: EgressRequest,
  target: string,
): EgressDecision {
  const inject = rule.credential === undefined ? null : injectionOf(rule.credential);
  if (inject !== null && request.scheme === 'http')
    return deny(rule.id, 'a credential is added over TLS only');
  const own = inject === null ? null : (placeholders[inject.secret] ?? null);
  const misplaced = placeholderOutside(placeholders, request, inject, own);
  if (misplaced !== null)
    return deny(rule.id, misplaced, 'A placeholder works at the host and header of its own rule only.', true);
  const carried = rule.ownCredentials ? null : carriedCredential(request, inject, own);
  if (carried !== null) {
    return deny(
      rule.id,
      `the request carries a credential of its own (${carried})`,
      'Leave it out: the gateway adds what the policy provides.',
    );
  }
  return {
    decision: 'allow',
    rule,
    path: target,
    inject,
    audited: inject !== null || !safeMethods.has(request.method),
  };
}

const injectionOf = ({ secret, carrier }: { secret: string; carrier: string }): Injection =>
  carrier === 'bearer'
    ? { secret, header: 'authorization', prefix: 'Bearer ' }
    : { secret, header: carrier.slice('header:'.length), prefix: '' };

function hostsDisagree(request: EgressRequest, host: string): string | null {
  if (request.scheme === 'https' && request.sni !== null && request.sni.toLowerCase() !== host)
    return 'the TLS server name is not the connected host';
  if (request.scheme === 'https' && request.sni === null) return 'the TLS handshake named no server';
  const hosts = request.headers
    .filter(([name]) => name === 'host' || name === ':authority')
    .map(([, value]) => value);
  if (hosts.length !== 1) return 'a request names its host exactly once';
  const defaultPort = request.scheme === 'https' ? 443 : 80;
  const spellings = [
    `${host}:${String(request.connectPort)}`,
    ...(request.connectPort === defaultPort ? [host] : []),
  ];
  return spellings.includes((hosts[0] ?? '').toLowerCase())
    ? null
    : 'the Host header is not the connected host';
}

function framingProblem(headers: EgressRequest['headers']): string | null {
  const values = (wanted: string): string[] =>
    headers.filter(([name]) => name === wanted).map(([, value]) => value);
  for (const [name, value] of headers) {
    if (!/^:?[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))
      return 'a header name has characters that do not belong there';
    if (/[\0\r\n]/.test(value)) return 'a header value has control characters';
    if (overrides.includes(name)) return 'a header overrides the method';
  }
  const lengths = values('content-length');
  const codings = values('transfer-encoding');
  if (lengths.length > 1 || (lengths[0] !== undefined && !/^(0|[1-9][0-9]{0,15})$/.test(lengths[0])))
    return 'the content length is not one number';
  if (codings.length > 1 || (codings[0] !== undefined && codings[0] !== 'chunked'))
    return 'the transfer encoding is not exactly chunked';
  if (lengths.length > 0 && codings.length > 0)
    return 'there is both a content length and a transfer encoding';
  if (values('upgrade').some((value) => !/^websocket$/i.test(value)))
    return 'only an upgrade to websocket is known';
  return null;
}
