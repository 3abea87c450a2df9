import {
  GloveboxError,
  sessionOf,
  type CallerKind,
  type Route,
  type WorkloadCaller,
  type AnonymousCaller,
} from '../../pure/contracts/index.ts';
import { foreignSession, type NamedParts } from './named-sessions.ts';

export type PeerCaller = WorkloadCaller | AnonymousCaller;

export const callerKind = (caller: PeerCaller): CallerKind | 'signer' | 'bus' =>
  caller.kind === 'anonymous' ? 'anonymous' : caller.identity.kind;

export const callerName = (caller: PeerCaller): string =>
  caller.kind === 'anonymous' ? 'a caller without a certificate' : caller.identity.id;

/**
 * The one guard before every handler of the workload API (R2, R3). The caller is what its certificate says; every session
 * that the request names, in its path, its query, a header or anywhere in its body, must be the caller's own.
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
      // A caller without a session of its own has no object here.
      const foreign = own === undefined ? 'a session' : foreignSession(parts, own);
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
