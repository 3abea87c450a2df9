export type Pairs = readonly (readonly [string, string])[];

/** Node's raw headers as pairs; names in lower case. */
export function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([(raw[i] ?? '').toLowerCase(), raw[i + 1] ?? '']);
  return pairs;
}

/** As node:http2 takes them: a name with several values is a list. */
export function listOf(pairs: Pairs): Record<string, string | string[]> {
  const found = new Map<string, string | string[]>();
  for (const [name, value] of pairs) {
    const before = found.get(name);
    found.set(
      name,
      before === undefined ? value : [...(typeof before === 'string' ? [before] : before), value],
    );
  }
  return Object.fromEntries(found);
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
  'http2-settings',
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

/** What goes upstream, whichever protocol carries it: hop-by-hop headers out, one `host` first; HTTP/2's `:authority` is not among them. */
export const requestHeaders = (pairs: Pairs, authority: string): Pairs => [
  ['host', authority],
  ...withoutHops(pairs).filter(([name]) => name !== 'expect' && name !== 'host' && name !== ':authority'),
];

/** What goes back to the agent. The body is framed anew, so lengths pass and codings do not. */
export const responseHeaders = (pairs: Pairs): Pairs =>
  withoutHops(pairs).filter(([name]) => name !== 'alt-svc' && !name.startsWith(':'));
