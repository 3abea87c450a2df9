import type { CredentialRule } from '../contracts/index.ts';

/** Where a credential goes, and in which form; what a request has in that place is removed. */
export interface Injection {
  readonly secret: string;
  readonly place: 'header' | 'query' | 'cookie' | 'signature';
  /** Of the header (lower case), query key or cookie. */
  readonly name: string;
  readonly form: 'plain' | 'bearer' | 'basic';
  /** With `basic`: the secret is this user's password; null: the secret is `user:password`. */
  readonly user: string | null;
  /** With `signature`: AWS's scope. */
  readonly signature: { readonly service: string; readonly region: string } | null;
}

export type Headers = readonly (readonly [string, string])[];

export function injectionOf({ secret, carrier }: CredentialRule): Injection {
  const at = carrier.indexOf(':');
  const kind = at < 0 ? carrier : carrier.slice(0, at);
  const name = at < 0 ? null : carrier.slice(at + 1);
  const base = { secret, form: 'plain', user: null, signature: null } as const;
  if (kind === 'bearer') return { ...base, place: 'header', name: 'authorization', form: 'bearer' };
  if (kind === 'basic') return { ...base, place: 'header', name: 'authorization', form: 'basic', user: name };
  if (kind === 'query') return { ...base, place: 'query', name: name ?? '' };
  if (kind === 'cookie') return { ...base, place: 'cookie', name: name ?? '' };
  if (kind === 'aws') {
    const [service = '', region = ''] = (name ?? '').split(':');
    return { ...base, place: 'signature', name: 'authorization', signature: { service, region } };
  }
  return { ...base, place: 'header', name: name ?? '' };
}

/** The text that goes into the request. */
export function carriedText(injection: Injection, credential: string): string {
  if (injection.form === 'bearer') return `Bearer ${credential}`;
  if (injection.form === 'plain') return credential;
  const pair = injection.user === null ? credential : `${injection.user}:${credential}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** Is this value of a header what stands for the credential in the sandbox, in one of the forms that clients give it? */
export function standsFor(injection: Injection, placeholder: string, value: string): boolean {
  // A client that signs was given the placeholder for its access key id.
  if (injection.place === 'signature')
    return /^AWS4-HMAC-SHA256 +Credential=([^/,\s]+)\//.exec(value)?.[1] === placeholder;
  if (value === placeholder) return true;
  const [scheme = '', rest = '', more] = value.split(' ');
  if (more !== undefined) return false;
  if (injection.form === 'bearer' && scheme.toLowerCase() === 'bearer') return rest === placeholder;
  if (injection.form !== 'basic' || scheme.toLowerCase() !== 'basic') return false;
  // Clients add a user name of their own: git takes one from the address.
  const pair = Buffer.from(rest, 'base64').toString('latin1');
  return pair === placeholder || pair.slice(pair.indexOf(':') + 1) === placeholder;
}

/** The request with the credential in its place. `target`: path and query. */
export function withCredential(
  injection: Injection,
  credential: string,
  headers: Headers,
  target: string,
): { readonly headers: Headers; readonly target: string } {
  const text = carriedText(injection, credential);
  const { place, name } = injection;
  if (place === 'header')
    return { headers: [...headers.filter(([header]) => header !== name), [name, text]], target };
  if (place === 'cookie') {
    const others = headers
      .filter(([header]) => header === 'cookie')
      .flatMap(([, value]) => cookiesOf(value))
      .filter((cookie) => cookie.name !== name)
      .map((cookie) => `${cookie.name}=${cookie.value}`);
    const rest = headers.filter(([header]) => header !== 'cookie');
    return { headers: [...rest, ['cookie', [...others, `${name}=${text}`].join('; ')]], target };
  }
  const at = target.indexOf('?');
  const kept =
    at < 0
      ? []
      : target
          .slice(at + 1)
          .split('&')
          .filter((pair) => pair !== '' && keyOf(pair) !== name);
  const query = [...kept, `${encodeURIComponent(name)}=${encodeURIComponent(text)}`].join('&');
  return { headers, target: `${at < 0 ? target : target.slice(0, at)}?${query}` };
}

export function cookiesOf(value: string): readonly { readonly name: string; readonly value: string }[] {
  return value
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? { name: '', value: part } : { name: part.slice(0, at), value: part.slice(at + 1) };
    });
}

/** A query pair's key as lenient servers read it. */
export const keyOf = (pair: string): string => lenient(pair.split('=', 1)[0] ?? '');

export function lenient(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
