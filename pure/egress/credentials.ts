import { isCredentialProtocol, isHeaderCarrier, isQueryCarrier } from './carriers.ts';
import type { EgressRequest } from './decide.ts';
import { cookiesOf, keyOf, lenient, standsFor, type Injection } from './injection.ts';

/** Which credential of its own a request carries; null: none. The placeholder in its own carrier is not one. */
export function carriedCredential(
  request: EgressRequest,
  inject: Injection | null,
  placeholder: string | null,
): string | null {
  for (const [name, value] of request.headers) {
    const own = (inject?.place === 'header' || inject?.place === 'signature') && name === inject.name;
    if (name === 'sec-websocket-protocol' && isCredentialProtocol(value)) return `header ${name}`;
    // A client that signs was given the placeholder for its session's token too; the real one takes its place.
    if (inject?.place === 'signature' && name === 'x-amz-security-token' && value === placeholder) continue;
    if (name === 'cookie' && inject?.place === 'cookie' && placeholder !== null) {
      if (cookiesOf(value).every((cookie) => cookie.name === inject.name && cookie.value === placeholder))
        continue;
    } else if (!isHeaderCarrier(name) && !own) continue;
    if (own && placeholder !== null && standsFor(inject, placeholder, value)) continue;
    return `header ${name}`;
  }
  // Both separators and a lenient decoding, as servers read them.
  for (const pair of queryPairs(request.target)) {
    const key = keyOf(pair);
    const own = inject?.place === 'query' && key === inject.name;
    if (own && pair.slice(pair.indexOf('=') + 1) === placeholder) continue;
    if (own || isQueryCarrier(key)) return `query key ${key}`;
  }
  return null;
}

/** Where a placeholder stands that is not its own rule's carrier; null: nowhere. Headers and target; bodies are read as they go out. */
export function placeholderOutside(
  placeholders: Readonly<Record<string, string>>,
  request: EgressRequest,
  inject: Injection | null,
  own: string | null,
): string | null {
  for (const [secret, placeholder] of Object.entries(placeholders)) {
    if (placeholder === '') return 'a secret has no placeholder';
    const mine = inject !== null && placeholder === own;
    const target =
      mine && inject.place === 'query'
        ? withoutPair(request.target, inject.name, placeholder)
        : request.target;
    if (target.includes(placeholder) || lenient(target).includes(placeholder))
      return `the placeholder of ${secret} is in the address`;
    for (const [name, value] of request.headers) {
      const read = [value, lenient(value), basic(value)];
      if (!read.some((text) => text.includes(placeholder))) continue;
      if (
        mine &&
        (inject.place === 'header' || inject.place === 'signature') &&
        name === inject.name &&
        standsFor(inject, placeholder, value)
      )
        continue;
      if (mine && inject.place === 'signature' && name === 'x-amz-security-token' && value === placeholder)
        continue;
      if (
        mine &&
        inject.place === 'cookie' &&
        name === 'cookie' &&
        onlyInCookie(value, inject.name, placeholder)
      )
        continue;
      return `the placeholder of ${secret} is in header ${name}`;
    }
  }
  return null;
}

const queryPairs = (target: string): string[] => {
  const question = target.indexOf('?');
  return question < 0 ? [] : target.slice(question + 1).split(/[&;]/);
};

const withoutPair = (target: string, key: string, value: string): string => {
  const question = target.indexOf('?');
  if (question < 0) return target;
  const kept = target
    .slice(question + 1)
    .split('&')
    .filter((pair) => pair !== `${key}=${value}`);
  return `${target.slice(0, question)}?${kept.join('&')}`;
};

const onlyInCookie = (value: string, name: string, placeholder: string): boolean =>
  cookiesOf(value).every(
    (cookie) => !cookie.value.includes(placeholder) || (cookie.name === name && cookie.value === placeholder),
  );

/** The decoded form of `Basic …`, or nothing. */
function basic(value: string): string {
  const match = /^basic\s+([A-Za-z0-9+/=_-]+)$/i.exec(value);
  return match === null ? '' : Buffer.from(match[1] ?? '', 'base64').toString('latin1');
}
