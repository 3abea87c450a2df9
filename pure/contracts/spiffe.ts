/**
 * SPIFFE IDs, strictly: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md sections 2.1 to 2.3. The
 * standard calls scheme and trust domain case-insensitive; only the normal (lower-case) form is accepted here, so that
 * one identity has exactly one spelling and may be compared as a string.
 */
import { isId, type Brand, type SandboxId, type SessionId } from './ids.ts';

/** A well-formed SPIFFE ID of one of our own identities. Made by `parseIdentity` and `spiffeId` only. */
export type SpiffeId = Brand<string, 'SpiffeId'>;
export type TrustDomain = Brand<string, 'TrustDomain'>;

export const defaultTrustDomain = 'glovebox.local' as TrustDomain;

/** Who a certificate may stand for. The names are labels: no dots, no wildcards, safe as one token of a NATS subject. */
export type Workload =
  | { readonly kind: 'control-plane'; readonly replica: string }
  | { readonly kind: 'signer' }
  | { readonly kind: 'secret-broker' }
  | { readonly kind: 'sidecar'; readonly session: SessionId }
  | { readonly kind: 'sandbox'; readonly session: SessionId; readonly sandbox: SandboxId }
  | { readonly kind: 'provider'; readonly domain: string; readonly name: string }
  | { readonly kind: 'bus'; readonly server: string };

export type Identity = Workload & { readonly trustDomain: TrustDomain; readonly id: SpiffeId };
export type IdentityKind = Identity['kind'];

export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** Bytes; section 2.3: an implementation must support 2048 and must not generate more. */
export const spiffeIdMaxBytes = 2048;
export const trustDomainMaxBytes = 255;

const scheme = 'spiffe://';
const trustDomainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;
const labelPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const refused = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });

export function parseTrustDomain(text: string): Parsed<TrustDomain> {
  if (!trustDomainPattern.test(text)) return refused('the trust domain has characters outside a-z 0-9 . - _');
  return { ok: true, value: text as TrustDomain };
}

export function asTrustDomain(text: string): TrustDomain {
  const parsed = parseTrustDomain(text);
  if (!parsed.ok) throw new RangeError(parsed.reason);
  return parsed.value;
}

/** A label as replica, provider domain, provider or bus server name: 1 to 63 of a-z 0-9 -, not at the ends. */
export const isLabel = (text: string): boolean => labelPattern.test(text);

/** Any SPIFFE ID of the standard, ours or not. */
export function splitSpiffeId(
  text: string,
): Parsed<{ readonly trustDomain: TrustDomain; readonly path: readonly string[] }> {
  // Every character that passes the patterns below is ASCII, so characters are bytes.
  if (text.length > spiffeIdMaxBytes) return refused(`longer than ${spiffeIdMaxBytes} bytes`);
  if (!text.startsWith(scheme)) return refused('the scheme is not spiffe://');
  const [authority = '', ...path] = text.slice(scheme.length).split('/');
  const trustDomain = parseTrustDomain(authority);
  if (!trustDomain.ok) return trustDomain;
  for (const segment of path) {
    if (segment === '') return refused('the path has an empty segment');
    if (segment === '.' || segment === '..') return refused('the path has a relative segment');
    // Also refuses percent-encoding, queries, fragments, user info and ports: none has a character of its own here.
    if (!segmentPattern.test(segment)) return refused('the path has characters outside A-Z a-z 0-9 . - _');
  }
  return { ok: true, value: { trustDomain: trustDomain.value, path } };
}

export function parseIdentity(text: string): Parsed<Identity> {
  const split = splitSpiffeId(text);
  if (!split.ok) return split;
  const workload = workloadOf(split.value.path);
  if (workload === undefined) return refused('the path names no workload of Glovebox');
  return {
    ok: true,
    value: { ...workload, trustDomain: split.value.trustDomain, id: text as SpiffeId },
  };
}

function workloadOf(path: readonly string[]): Workload | undefined {
  const [head, first = '', second = '', third = ''] = path;
  switch (head) {
    case 'signer':
    case 'secret-broker':
      return path.length === 1 ? { kind: head } : undefined;
    case 'control-plane':
      return path.length === 2 && isLabel(first) ? { kind: head, replica: first } : undefined;
    case 'bus':
      return path.length === 2 && isLabel(first) ? { kind: head, server: first } : undefined;
    case 'provider':
      return path.length === 3 && isLabel(first) && isLabel(second)
        ? { kind: head, domain: first, name: second }
        : undefined;
    case 'session':
      if (!isId(first)) return undefined;
      if (path.length === 3 && second === 'sidecar') return { kind: 'sidecar', session: first as SessionId };
      return path.length === 4 && second === 'sandbox' && isId(third)
        ? { kind: 'sandbox', session: first as SessionId, sandbox: third as SandboxId }
        : undefined;
    default:
      return undefined;
  }
}

function pathOf(workload: Workload): string {
  switch (workload.kind) {
    case 'signer':
    case 'secret-broker':
      return workload.kind;
    case 'control-plane':
      return `control-plane/${workload.replica}`;
    case 'bus':
      return `bus/${workload.server}`;
    case 'provider':
      return `provider/${workload.domain}/${workload.name}`;
    case 'sidecar':
      return `session/${workload.session}/sidecar`;
    case 'sandbox':
      return `session/${workload.session}/sandbox/${workload.sandbox}`;
  }
}

/** The one spelling of a workload's ID. Throws RangeError where a name is not a label or an id. */
export function spiffeId(trustDomain: TrustDomain, workload: Workload): SpiffeId {
  const parsed = parseIdentity(`${scheme}${trustDomain}/${pathOf(workload)}`);
  if (!parsed.ok) throw new RangeError(`no SPIFFE ID can be made of this ${workload.kind}: ${parsed.reason}`);
  return parsed.value.id;
}

/** The identity behind an ID that is known to be good. */
export function identityOf(id: SpiffeId): Identity {
  const parsed = parseIdentity(id);
  if (!parsed.ok) throw new RangeError(`not a SPIFFE ID: ${parsed.reason}`);
  return parsed.value;
}

/** The session that an identity belongs to, if any. */
export const sessionOf = (identity: Identity): SessionId | undefined =>
  identity.kind === 'sidecar' || identity.kind === 'sandbox' ? identity.session : undefined;
