import type { SessionId, TurnId, UserId } from '../../pure/contracts/index.ts';

export interface TurnRecord {
  readonly id: TurnId;
  readonly sessionId: SessionId;
  readonly user: UserId;
  readonly openedAt: string;
  readonly expiresAt: string;
  readonly endedAt: string | null;
}

export interface TurnStore {
  /** Ends the session's open turn and opens this one, in one step: two are never open at once, whoever opens them (R36). */
  open(turn: Omit<TurnRecord, 'endedAt'>): Promise<void>;
  /** False: it had ended before. */
  end(id: TurnId, at: string): Promise<boolean>;
  endOf(session: SessionId, at: string): Promise<void>;
  get(id: TurnId): Promise<TurnRecord | undefined>;
  openOf(session: SessionId): Promise<TurnRecord | undefined>;
  /** Everybody who ever had a turn in it. */
  participantsOf(session: SessionId): Promise<readonly UserId[]>;
}
