import type { Injection } from '../../pure/egress/index.ts';

export type Pairs = readonly (readonly [string, string])[];

/** Node's raw headers as pairs; names in lower case. */
export function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([(raw[i] ?? '').toLowerCase(), raw[i + 1] ?? '']);
  return pairs;
}

/** RFC 9110 section 7.6.1, and what proxies of old added to it. `te: trailers` is allowed to pass: gRPC needs it. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function withoutHops(pairs: Pairs): Pairs {
  const named = pairs
    .filter(([name]) => name === 'connection')
    .flatMap(([, value]) =>
      value
        .toLowerCase()
        .split(',')
        .map((token) => token.trim()),
    );
  return pairs.filter(([name, value]) =>
    name === 'te' ? value.trim() === 'trailers' : !hopByHop.has(name) && !named.includes(name),
  );
}

/** What goes upstream: hop-by-hop headers out, the credential in, in place of whatever the request had there. */
export function requestHeaders(
  pairs: Pairs,
  inject: Injection | null,
  credential: string | null,
  upgrade: boolean,
): string[] {
  const kept = withoutHops(pairs).filter(([name]) => name !== 'expect' && name !== inject?.header);
  const chunked = pairs.some(([name]) => name === 'transfer-encoding');
  const added: [string, string][] = [
    ...(inject === null || credential === null
      ? []
      : [[inject.header, inject.prefix + credential] as [string, string]]),
    ...(chunked ? [['transfer-encoding', 'chunked'] as [string, string]] : []),
    ...(upgrade
      ? ([
          ['connection', 'Upgrade'],
          ['upgrade', 'websocket'],
        ] as [string, string][])
      : []),
  ];
  return [...kept, ...added].flat();
}

/** What goes back to the agent. Node frames the body anew, so lengths pass and codings do not. */
export const responseHeaders = (pairs: Pairs): string[] =>
  withoutHops(pairs)
    .filter(([name]) => name !== 'alt-svc')
    .flat();
