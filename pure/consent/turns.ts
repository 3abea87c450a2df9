import type { TurnId, UserId } from '../contracts/index.ts';

/** A person's turn. At most one is open; those before it are remembered for the tokens that name them. */
export interface Turn {
  readonly turnId: TurnId;
  readonly user: UserId;
  /** Unguessable. It only narrows: whoever shows it is this turn's, and nobody else's. */
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** Several people take part: no grant outlives one use. */
  readonly onceOnly: boolean;
}

/** Under whose turn something happens: stamped when it arrives, and kept to its end (R36). */
export interface Stamp {
  readonly turnId: TurnId;
  readonly user: UserId;
  /** False for what names an earlier turn: it is that person's, and no grant is spent for it. */
  readonly mayUseGrants: boolean;
}

export interface TurnState {
  readonly open: Turn | null;
  /** Newest last. */
  readonly past: readonly Turn[];
}

export const noTurns: TurnState = { open: null, past: [] };

/** What a request says of itself: nothing, a turn's token, or a person's conversation (an MCP session). */
export type Named =
  | { readonly by: 'nothing' }
  | { readonly by: 'token'; readonly token: string }
  | { readonly by: 'conversation'; readonly user: UserId; readonly turnId: TurnId };

const ended = (state: TurnState, keep: number): readonly Turn[] =>
  state.open === null ? state.past : [...state.past, state.open].slice(-keep);

/** Opening one ends the one before: turns never overlap. An id that was there before opens nothing again. */
export function openTurn(state: TurnState, turn: Turn, keep: number): TurnState {
  const known = [state.open, ...state.past].some((one) => one?.turnId === turn.turnId);
  return known ? state : { open: turn, past: ended(state, keep) };
}

/** Closing names the one that is meant. */
export function closeTurn(state: TurnState, turnId: string, keep: number): TurnState {
  return state.open?.turnId === turnId ? { open: null, past: ended(state, keep) } : state;
}

/** A turn whose time is over is over for good, whatever the clock says afterwards. */
export function expireTurn(state: TurnState, now: number, keep: number): TurnState {
  return state.open !== null && now >= state.open.expiresAt
    ? { open: null, past: ended(state, keep) }
    : state;
}

/**
 * Whose request this is (R36). Null: nobody's, since no turn is open. `unknown`: it names a turn that never was here. What a request
 * names can take its grants away and give it back to an earlier person; it cannot make it anybody's whose turn is not open.
 */
export function stampOf(state: TurnState, named: Named): Stamp | null | 'unknown' {
  const { open, past } = state;
  if (named.by === 'token') {
    const turn = [open, ...past].find((one) => one?.token === named.token);
    if (turn === undefined || turn === null) return 'unknown';
    return open === null ? null : stampBy(turn, turn === open);
  }
  if (open === null) return null;
  if (named.by === 'nothing' || named.user === open.user) return stampBy(open, true);
  return { turnId: named.turnId, user: named.user, mayUseGrants: false };
}

const stampBy = ({ turnId, user }: Turn, mayUseGrants: boolean): Stamp => ({ turnId, user, mayUseGrants });
