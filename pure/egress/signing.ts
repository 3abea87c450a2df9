import type { CredentialUse, ToBeSigned } from '../contracts/index.ts';
import type { EgressRequest } from './decide.ts';
import { matchHost, normaliseHost } from './host.ts';
import type { Headers, Injection } from './injection.ts';
import { matchPath, normalisePath } from './path.ts';

/** The services whose requests may leave the body out of the signature; TLS is what protects it then. */
const unsignedBodies = new Set(['s3', 's3-object-lambda', 's3-outposts', 's3express']);

export type Payload =
  | { readonly kind: 'said'; readonly payload: string }
  /** The body has to be read and hashed first. */
  | { readonly kind: 'hash' };

/** What the signature says of the body: what the client said, where that can be true without a key of its own. */
export function payloadOf(service: string, headers: Headers): Payload {
  const said = headers.find(([name]) => name === 'x-amz-content-sha256')?.[1];
  if (said !== undefined) return { kind: 'said', payload: said };
  return unsignedBodies.has(service) ? { kind: 'said', payload: 'UNSIGNED-PAYLOAD' } : { kind: 'hash' };
}

/** Why a request cannot be signed for the agent, or null. */
export function signatureProblem(
  { signature }: Injection,
  request: Pick<EgressRequest, 'headers'>,
): string | null {
  if (signature === null) return null;
  const said = request.headers.filter(([name]) => name === 'x-amz-content-sha256').map(([, value]) => value);
  if (said.length > 1) return 'the body’s hash is said more than once';
  for (const [name] of request.headers) {
    // A copy reads an object that the rule's paths do not name, with the same key.
    if (name.startsWith('x-amz-copy-source')) return `header ${name} reads what the rule does not name`;
    // What a path cannot show must not decide which operation it is.
    if (name === 'x-amz-s3session-token') return `header ${name} is a credential of its own`;
  }
  const covered = signedHeaders(request.headers).map(([name]) => name);
  if (new Set(covered).size !== covered.length) return 'a header that is signed is there more than once';
  const [payload] = said;
  if (payload === undefined || /^[0-9a-f]{64}$/.test(payload)) return null;
  if (payload.startsWith('STREAMING-AWS4-'))
    return 'each piece of the body is signed with the agent’s key, which is none; let the client send an unsigned or a hashed body';
  if (payload !== 'UNSIGNED-PAYLOAD' && payload !== 'STREAMING-UNSIGNED-PAYLOAD-TRAILER')
    return 'the body’s hash is none';
  return unsignedBodies.has(signature.service)
    ? null
    : `${signature.service} takes no request whose body is not signed`;
}

/** Does one of the session's rules let this go out with that secret's signature? The broker's own look, whatever a sidecar says. */
export function maySign(uses: readonly CredentialUse[], secret: string, request: ToBeSigned): boolean {
  const host = normaliseHost(request.host);
  const path = normalisePath(request.target.split('?', 1)[0] ?? '');
  if (!host.ok || !path.ok) return false;
  return uses.some(
    (use) =>
      use.secret === secret &&
      use.carrier === `aws:${request.service}:${request.region}` &&
      use.port === request.port &&
      matchHost(use.host, host.value) &&
      use.methods.includes(request.method) &&
      use.paths.some((pattern) => matchPath(pattern, path.value)),
  );
}

/** Headers that a signature covers: those that say where to, which body and which operation. */
export const signedHeaders = (headers: Headers): [string, string][] =>
  headers
    .filter(
      ([name]) =>
        (name === 'content-type' || name === 'content-md5' || name.startsWith('x-amz-')) &&
        !unsignedOnes.has(name),
    )
    .map(([name, value]): [string, string] => [name, value]);
const unsignedOnes = new Set(['x-amz-date', 'x-amz-security-token', 'x-amz-content-sha256']);

/** The request as it goes out: what the agent's client signed with is gone. */
export const withSignature = (headers: Headers, signed: Readonly<Record<string, string>>): Headers => [
  ...headers.filter(
    ([name]) =>
      !Object.hasOwn(signed, name) &&
      !unsignedOnes.has(name) &&
      name !== 'authorization' &&
      !name.startsWith('x-amz-signature'),
  ),
  ...Object.entries(signed),
];

export interface StrictTarget {
  readonly path: string;
  readonly query: readonly (readonly [string, string])[];
  /** Path and query, encoded as AWS encodes them. */
  readonly target: string;
}

/** A target in the one spelling that both ends compute a signature over; null where it has none (broken or non-UTF-8 encodings). */
export function strictTarget(target: string): StrictTarget | null {
  const question = target.indexOf('?');
  try {
    const path = (question < 0 ? target : target.slice(0, question))
      .split('/')
      .map((segment) => encoded(decodeURIComponent(segment)))
      .join('/');
    const query = (question < 0 ? '' : target.slice(question + 1))
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair): [string, string] => {
        const at = pair.indexOf('=');
        const read = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));
        return at < 0 ? [read(pair), ''] : [read(pair.slice(0, at)), read(pair.slice(at + 1))];
      });
    const text = query.map(([key, value]) => `${encoded(key)}=${encoded(value)}`).join('&');
    return { path, query, target: text === '' ? path : `${path}?${text}` };
  } catch {
    return null;
  }
}

/** All but RFC 3986's unreserved characters. */
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
