import type { SidecarPolicy } from '../contracts/index.ts';
import { carriedCredential, placeholderOutside } from './credentials.ts';
import { isJson, inspects, type Inspection } from './body.ts';
import { gitRequest } from './git.ts';
import { matchHost, normaliseHost } from './host.ts';
import { injectionOf, type Injection } from './injection.ts';
import { matchPath, normalisePath } from './path.ts';
import { queryProblem } from './query.ts';
import { egressScope } from './scope.ts';
import { signatureProblem } from './signing.ts';
import { bytesOf } from './size.ts';

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

export interface EgressAllowed {
  readonly decision: 'allow';
  readonly rule: CompiledRule;
  /** Path and query, as they go out. */
  readonly path: string;
  readonly inject: Injection | null;
  readonly audited: boolean;
  /** What of the body decides too, before anything goes out. */
  readonly inspection: Inspection;
}

export interface EgressDenied {
  readonly decision: 'deny';
  readonly rule: string;
  readonly why: string;
  readonly todo: string;
  readonly alert: boolean;
  /** The smallest rule that would let it through, where a rule is what is missing. */
  readonly needs?: Needs;
}

export interface Needs {
  readonly host: string;
  readonly port: number;
  /** Not known of a CONNECT. */
  readonly method?: string;
  /** Normalised; not where no rule can name it. */
  readonly path?: string;
}

export type EgressDecision =
  | EgressAllowed
  | EgressDenied
  | {
      readonly decision: 'ask';
      readonly rule: CompiledRule;
      readonly scope: string;
      readonly allowed: EgressAllowed;
    };

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);
const overrides = ['x-http-method-override', 'x-http-method', 'x-method-override'];

const deny = (
  rule: string,
  why: string,
  todo = 'Ask the person to add an egress rule to the policy.',
  alert = false,
): EgressDenied => ({
  decision: 'deny',
  rule,
  why,
  todo,
  alert,
});

/** Of a path in a rule (pure/contracts/policy.ts). */
export const longestRulePath = 300;

/** No rule fits: what to ask for is said as a rule. */
function missing(scheme: 'https' | 'http', needs: Needs): EgressDenied {
  const { host, port, method, path } = needs;
  const place =
    method === undefined ? `${scheme}://${host}:${String(port)}` : `${method} ${host}${path ?? ''}`;
  const wanted = [`host ${host}`, ...(port === 443 ? [] : [`port ${String(port)}`])];
  if (method !== undefined) wanted.push(`methods [${method}]`);
  // What is longer than a rule's path may be is no help, and an answer has a size.
  if (path !== undefined && path.length <= longestRulePath) wanted.push(`paths [${path}]`);
  const rule = deny(
    'egress.default',
    `no rule allows ${place}`,
    `Ask the person to add an egress rule to the policy: ${wanted.join(', ')}.`,
  );
  return { ...rule, needs };
}

/** Before any TLS: is there a rule for this host and port at all? Nothing is resolved for a name that is on none. */
export function decideConnect(
  rules: readonly CompiledRule[],
  host: string,
  port: number,
  scheme: 'https' | 'http',
): EgressDenied | null {
  const name = normaliseHost(host);
  if (!name.ok) return deny('egress.host', name.why, 'Use a host name that a rule of the policy allows.');
  const known = rules.some(
    (rule) =>
      rule.port === port && rule.plaintext === (scheme === 'http') && matchHost(rule.host, name.value),
  );
  return known ? null : missing(scheme, { host: name.value, port });
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
    return missing(request.scheme, {
      host: host.value,
      port: request.connectPort,
      method: request.method,
      path: path.value,
    });
  const shape = shapeProblem(rule, request, path.value, query);
  if (typeof shape === 'string') return deny(rule.id, shape);
  const allowed = withCredentials(rule, placeholders, request, path.value + query, shape.inspection);
  if (allowed.decision !== 'allow' || rule.decision === 'allow') return allowed;
  return {
    decision: 'ask',
    rule,
    scope: egressScope(request.method, host.value, request.connectPort, path.value),
    allowed,
  };
}

/** What a rule says beyond host, method and path: its text where it does not fit. */
function shapeProblem(
  rule: CompiledRule,
  request: EgressRequest,
  path: string,
  query: string,
): string | { readonly inspection: Inspection } {
  const header = (wanted: string): string | undefined =>
    request.headers.find(([name]) => name === wanted)?.[1];
  const wrongQuery = queryProblem(rule.query, query);
  if (wrongQuery !== null) return wrongQuery;
  const length = header('content-length');
  if (rule.maxBody !== undefined && length !== undefined && Number(length) > bytesOf(rule.maxBody))
    return `the body is larger than the rule allows (${rule.maxBody})`;
  if (rule.grpc !== undefined && !/^application\/grpc(\+[a-z0-9.-]+)?$/.test(header('content-type') ?? ''))
    return 'the rule is for gRPC, and the request’s content type is not';
  if (rule.git !== undefined) {
    const git = gitRequest(rule.git, request.method, path, query);
    if (!git.ok) return git.why;
    if (!git.inspect) return { inspection: null };
    return header('content-encoding') === undefined
      ? { inspection: 'git-push' }
      : 'a push is not read compressed';
  }
  if (!inspects(rule)) return { inspection: null };
  if (request.method !== 'POST' && rule.graphql !== undefined)
    return 'the rule lets GraphQL through by POST only';
  // MCP's GET opens a stream of events and DELETE ends its session: neither has a body.
  if (request.method !== 'POST')
    return header('content-length') === undefined && header('transfer-encoding') === undefined
      ? { inspection: null }
      : 'only a POST has a body that the rule can look into';
  if (header('content-encoding') !== undefined)
    return 'a body that the rule looks into is not read compressed';
  return isJson(header('content-type'))
    ? { inspection: 'json' }
    : 'a body that the rule looks into is JSON in UTF-8';
}

function withCredentials(
  rule: CompiledRule,
  placeholders: Readonly<Record<string, string>>,
  request: EgressRequest,
  target: string,
  inspection: Inspection,
): EgressAllowed | EgressDenied {
  const inject = rule.credential === undefined ? null : injectionOf(rule.credential);
  if (inject !== null && request.scheme === 'http')
    return deny(rule.id, 'a credential is added over TLS only');
  const unsignable = inject === null ? null : signatureProblem(inject, request);
  if (unsignable !== null) return deny(rule.id, unsignable);
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
    inspection,
  };
}

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
