import type { z } from 'zod';

/** Who may call. `anonymous` is only for the exchange of a join token, and of a browser's login token. */
export type CallerKind =
  'anonymous' | 'operator' | 'control-plane' | 'sidecar' | 'sandbox' | 'provider' | 'secret-broker' | 'agent';
/**
 * How the object's owner is matched to the caller: `none` (no object), `caller-session` (the object is the caller's own session;
 * a session named anywhere in the request must be it), `operator-session` (the operator may see that session), `self` (the
 * caller's own identity).
 */
export type OwnerRule = 'none' | 'caller-session' | 'operator-session' | 'self';

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: `/${string}`;
  readonly callers: readonly [CallerKind, ...CallerKind[]];
  readonly owner: OwnerRule;
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  readonly response: z.ZodType;
}

/** The registry's door: a route without callers and an owner rule does not compile (R3). */
export function defineRoutes<const T extends Record<string, Route>>(routes: T): T {
  return routes;
}
