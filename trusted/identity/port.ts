import type { SpiffeId } from '../../pure/contracts/index.ts';

/**
 * How an identity was first attested, and over what it may be renewed: `workload-api` is the mutual-TLS renewal of one
 * that joined by token, `in-process` the control plane's own parts, `link` a sandbox's by the sidecar at the end of its link.
 */
export const attestationChannels = ['workload-api', 'in-process', 'link'] as const;
export type AttestationChannel = (typeof attestationChannels)[number];

export interface JoinBinding {
  readonly spiffeId: SpiffeId;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export type JoinUse =
  | { readonly state: 'fresh'; readonly binding: JoinBinding }
  | { readonly state: 'used' }
  | { readonly state: 'unknown' };

/** One issued certificate. */
export interface IssuedSerial {
  /** Lower-case hex. */
  readonly serial: string;
  readonly spiffeId: SpiffeId;
  readonly channel: AttestationChannel;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

export interface Lineage {
  readonly lineage: string;
  readonly spiffeId: SpiffeId;
  readonly channel: AttestationChannel;
  readonly notAfter: number;
  readonly renewed: boolean;
  readonly revoked: boolean;
}

export type RenewalOutcome =
  | { readonly state: 'renewed' }
  /** The old serial was renewed before, or its lineage is revoked: now the whole lineage is. `serials`: all of it that has not ended. */
  | { readonly state: 'revoked'; readonly serials: readonly string[] }
  | { readonly state: 'unknown' };

/**
 * What identity has to remember, also through a restart (R6). Each method is one transaction; those marked atomic are
 * raced by 100 callers in the contract tests and must have one winner, across processes too.
 */
export interface IdentityStore {
  /** Stores the SHA-256 (hex) of a join token, never the token. */
  insertHash(hash: string, binding: JoinBinding): Promise<void>;
  /** Atomic: `fresh` for exactly one caller, `used` for all later ones until `forget`. Does not look at the time. */
  consumeHash(hash: string): Promise<JoinUse>;

  /**
   * Atomic: the first certificate of a new lineage. The lineage of one that joined is the hash of its token. False, and
   * nothing stored, if that lineage is revoked: the identity was revoked while its certificate was being signed.
   */
  beginLineage(lineage: string, first: IssuedSerial): Promise<boolean>;
  findSerial(serial: string): Promise<Lineage | undefined>;
  /**
   * Atomic: if `serial` was not renewed and its lineage is not revoked, marks it renewed at `nowMs` and adds `next` to
   * the same lineage. Otherwise revokes the lineage, in the same transaction.
   */
  renewSerial(serial: string, next: IssuedSerial, nowMs: number): Promise<RenewalOutcome>;
  /** Atomic. The answer: every serial of the lineage that has not ended at `nowMs`. */
  revokeLineage(lineage: string, nowMs: number): Promise<readonly string[]>;
  /**
   * Atomic: every lineage of that identity, and its join tokens, used or not, with the lineages that they stand for. A
   * token inserted later begins a new, good one.
   */
  revokeIdentity(spiffeId: SpiffeId, nowMs: number): Promise<readonly string[]>;
  /** Serials of revoked lineages that have not ended: what a starting server refuses. */
  revokedSerials(nowMs: number): Promise<readonly string[]>;
  /** Removes serials and tokens that ended before `beforeMs`. */
  forget(beforeMs: number): Promise<void>;
}
