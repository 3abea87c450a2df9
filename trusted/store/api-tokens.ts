import type { TokenScope, UserId } from '../../pure/contracts/index.ts';

export interface ApiToken {
  readonly id: string;
  readonly name: string;
  readonly user: UserId;
  readonly scopes: readonly TokenScope[];
  /** SHA-256 of the secret part, in hex: who reads the store has no token. */
  readonly digest: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly revokedAt: string | null;
}

export interface ApiTokenStore {
  insert(token: ApiToken): Promise<void>;
  get(id: string): Promise<ApiToken | undefined>;
  /** Newest first. */
  list(limit: number): Promise<readonly ApiToken[]>;
  /** How many of this person's are neither revoked nor expired at `at`. */
  countGood(user: UserId, at: string): Promise<number>;
  /** False: it was revoked before, or never was. */
  revoke(id: string, at: string): Promise<boolean>;
}
