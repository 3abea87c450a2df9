import type {
  ConsentId,
  ConsentMode,
  ConsentQuestion,
  GrantId,
  SessionId,
  UserId,
} from '../../pure/contracts/index.ts';

export interface ConsentStore {
  insert(question: ConsentQuestion): Promise<void>;
  get(id: ConsentId): Promise<ConsentQuestion | undefined>;
  list(filter: {
    readonly pendingOnly: boolean;
    readonly limit: number;
  }): Promise<readonly ConsentQuestion[]>;
  pendingOf(session: SessionId): Promise<readonly ConsentQuestion[]>;
  countSince(session: SessionId, since: string): Promise<number>;
  /** The same question again: folded into the open one. */
  fold(id: ConsentId): Promise<void>;
  /** Only a pending question can be answered, and only once: false when somebody else was first. */
  answer(id: ConsentId, state: 'approved' | 'denied' | 'expired'): Promise<boolean>;
  /** Questions whose time is over at `now`, still pending. */
  overdue(now: string): Promise<readonly ConsentQuestion[]>;
}

/** R35: the key of a grant is session, user and scope. */
export interface Grant {
  readonly id: GrantId;
  readonly sessionId: SessionId;
  readonly user: UserId;
  readonly scope: string;
  readonly mode: ConsentMode;
  readonly challengeId: ConsentId;
  readonly createdAt: string;
  readonly revokedAt: string | null;
  /** No use from then on. */
  readonly expiresAt: string | null;
  /** Of a once-grant that was used up. */
  readonly usedAt: string | null;
}

export type GrantKey = Pick<Grant, 'sessionId' | 'user' | 'scope'> & {
  /** This one of them, no other. */
  readonly id?: GrantId;
};

export interface GrantStore {
  /** One transaction: the jti is spent and the grant is there, or neither. False: the jti was spent before (R6). */
  redeem(jti: string, grant: Grant): Promise<boolean>;
  /**
   * The grant that covers one use at `at`, if there is one. A once-grant is used up by it: of 100 callers in as many processes one
   * gets it (R37). Undefined means no, for whatever reason.
   */
  use(key: GrantKey, at: string): Promise<Grant | undefined>;
  get(id: GrantId): Promise<Grant | undefined>;
  listOf(session: SessionId): Promise<readonly Grant[]>;
  /** Newest first, of all sessions. `openAt`: only those that are good then. */
  list(filter: { readonly openAt: string | null; readonly limit: number }): Promise<readonly Grant[]>;
  /** Those for the session that are open are for one use from now on; says how many. */
  onceOnly(session: SessionId): Promise<number>;
  /** All of the session's that are open, or of those only these. */
  revokeOf(session: SessionId, at: string, only?: readonly GrantId[]): Promise<number>;
}
