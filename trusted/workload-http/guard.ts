import {
  GloveboxError,
  isId,
  sessionOf,
  type CallerKind,
  type Route,
  type WorkloadCaller,
  type AnonymousCaller,
} from '../../pure/contracts/index.ts';

export type PeerCaller = WorkloadCaller | AnonymousCaller;

export interface NamedParts {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

export const callerKind = (caller: PeerCaller): CallerKind | 'signer' | 'bus' =>
  caller.kind === 'anonymous' ? 'anonymous' : caller.identity.kind;

export const callerName = (caller: PeerCaller): string =>
  caller.kind === 'anonymous' ? 'a caller without a certificate' : caller.identity.id;

/**
 * The one guard before every handler of the workload API (R2, R3). The caller is what its certificate says; every session
 * that the request names, in its path, its query or anywhere in its body, must be the caller's own.
 */
export function guard(operation: string, route: Route, caller: PeerCaller, parts: NamedParts): void {
  if (!route.callers.some((kind) => kind === callerKind(caller))) {
    throw new GloveboxError('GB_CALLER_REFUSED', { operation, allowed: route.callers.join(', ') });
  }
  switch (route.owner) {
    case 'none':
    case 'self':
      return;
    case 'caller-session': {
      const own = caller.kind === 'anonymous' ? undefined : sessionOf(caller.identity);
      const named = [
        ...sessionsNamed(parts.params),
        ...sessionsNamed(parts.query),
        ...sessionsNamed(parts.body),
      ];
      const foreign =
        own === undefined ? (named[0] ?? 'a session') : named.find((session) => session !== own);
      if (foreign !== undefined) {
        throw new GloveboxError('GB_CALLER_MISMATCH', { named: foreign, caller: callerName(caller) });
      }
      return;
    }
    case 'operator-session':
      // A person's rule on a server that no person reaches: a mistake in the registry, so nobody gets in.
      throw new GloveboxError('GB_CALLER_REFUSED', { operation, allowed: 'operators' });
  }
}

const sessionKeys: ReadonlySet<string> = new Set(['session', 'sessionid', 'session_id', 'session-id']);

function* sessionsNamed(value: unknown, depth = 0): Generator<string> {
  if (typeof value !== 'object' || value === null) return;
  // Deeper than any schema of ours goes: what cannot be looked through is not let through.
  if (depth > 16) {
    yield 'a session too deep to look at';
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    // Arguments of a tool call, quoted in a question to a person: the agent's words, which name nothing here.
    if (key === 'arguments') continue;
    if (sessionKeys.has(key.toLowerCase())) {
      yield typeof inner === 'string' && isId(inner) ? inner : 'something that is no session id';
    } else {
      yield* sessionsNamed(inner, depth + 1);
    }
  }
}
