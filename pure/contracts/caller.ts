import type { SessionId, UserId } from './ids.ts';
import type { Identity } from './spiffe.ts';

/**
 * Who is calling, proven (R2). The symbol is not exported, so an object literal is never a Caller: one comes from
 * trusted/identity (a verified certificate), from the sidecar's link layer (the inherited link) or from the operator
 * socket's peer check, each by one cast beside the check that earns it.
 */
declare const proven: unique symbol;

/** By a verified certificate. `serial` is lower-case hex without separators, `notAfter` the end of the certificate. */
export interface WorkloadCaller {
  readonly [proven]: 'certificate';
  readonly kind: 'workload';
  readonly identity: Identity;
  readonly serial: string;
  readonly notAfter: Date;
}

/** By the link that its sandbox inherited. */
export interface LinkCaller {
  readonly [proven]: 'link';
  readonly kind: 'link';
  readonly sessionId: SessionId;
}

/** By a person's login (on one machine: the peer of the operator socket). */
export interface OperatorCaller {
  readonly [proven]: 'login';
  readonly kind: 'operator';
  readonly user: UserId;
  /** An API token of that person's is less than the person: it never answers a question (R39). */
  readonly by: 'login' | 'token';
}

/** By nothing: may exchange a join token and nothing else. */
export interface AnonymousCaller {
  readonly [proven]: 'nothing';
  readonly kind: 'anonymous';
}

export type Caller = WorkloadCaller | LinkCaller | OperatorCaller | AnonymousCaller;
