import { isId } from '../../pure/contracts/index.ts';

/** Where a request may name a session, besides its caller's certificate or link. */
export interface NamedParts {
  readonly params?: unknown;
  readonly query?: unknown;
  readonly body?: unknown;
  readonly headers?: unknown;
}

const sessionKeys: ReadonlySet<string> = new Set(['session', 'sessionid', 'session_id', 'session-id']);
const headerPrefix = /^(?:x-)?(?:glovebox-)?/;

/** Every session that a request names, wherever it does; what is no session id is nobody's own (R2). */
export function* namedSessions({ params, query, body, headers }: NamedParts): Generator<string> {
  for (const part of [params, query, body]) yield* within(part, 0);
  // One level, of strings: `X-Glovebox-Session`, `Session-Id` and their like.
  for (const [name, value] of Object.entries(headers ?? {}))
    if (sessionKeys.has(name.toLowerCase().replace(headerPrefix, ''))) yield asId(value);
}

/** The first of them that is not `own`. */
export function foreignSession(parts: NamedParts, own: string): string | undefined {
  for (const session of namedSessions(parts)) if (session !== own) return session;
  return undefined;
}

const asId = (value: unknown): string =>
  typeof value === 'string' && isId(value) ? value : 'something that is no session id';

function* within(value: unknown, depth: number): Generator<string> {
  if (typeof value !== 'object' || value === null) return;
  // Deeper than any schema of ours goes: what cannot be looked through is not let through.
  if (depth > 16) {
    yield 'a session too deep to look at';
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    // Arguments of a tool call, quoted in a question to a person: the agent's words, which name nothing here.
    if (key === 'arguments') continue;
    if (sessionKeys.has(key.toLowerCase())) yield asId(inner);
    else yield* within(inner, depth + 1);
  }
}
