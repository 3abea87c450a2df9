import { asTurnId, asUserId, GloveboxError, limits, type UserId } from '../../pure/contracts/index.ts';
import {
  closeTurn,
  expireTurn,
  noTurns,
  openTurn,
  stampOf,
  type Named,
  type Stamp,
  type TurnState,
} from '../../pure/consent/index.ts';

export type { Stamp } from '../../pure/consent/index.ts';

export interface TurnsOptions {
  readonly now: () => number;
  readonly newToken: () => string;
}

/** The session's turns, as the control plane says them. At most one is open; opening one ends the one before. */
export class Turns {
  readonly opened: Promise<void>;
  readonly #options: TurnsOptions;
  readonly #participants = new Set<UserId>();
  readonly #waiting = new Set<() => void>();
  #state: TurnState = noTurns;
  #open: () => void = () => undefined;

  constructor(options: TurnsOptions) {
    this.#options = options;
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(
    turnId: string,
    user: string,
    given: { readonly expiresAt?: number; readonly onceOnly?: boolean } = {},
  ): void {
    const person = asUserId(user);
    this.#participants.add(person);
    const turn = {
      turnId: asTurnId(turnId),
      user: person,
      token: this.#options.newToken(),
      expiresAt: given.expiresAt ?? Number.POSITIVE_INFINITY,
      onceOnly: given.onceOnly ?? this.#participants.size > 1,
    };
    this.#state = openTurn(this.#now(), turn, limits.turnsRemembered.value);
    this.#open();
    for (const told of this.#waiting) told();
  }

  close(turnId: string): void {
    this.#state = closeTurn(this.#now(), turnId, limits.turnsRemembered.value);
  }

  /** Null: no turn is open, and nothing is done. A token that names no turn of this session is refused. */
  stamp(named: Named = { by: 'nothing' }): Stamp | null {
    const stamp = stampOf(this.#now(), named);
    if (stamp === 'unknown')
      throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it names no turn of this session' });
    return stamp;
  }

  /** For a client that wants its calls to be this turn's and no later one's. */
  token(): string | null {
    return this.#now().open?.token ?? null;
  }

  /** Whoever's turn is open now. */
  user(): UserId | null {
    return this.#now().open?.user ?? null;
  }

  /** When it is this person's turn; at once where it is. */
  async until(user: UserId): Promise<void> {
    while (this.user() !== user) {
      await new Promise<void>((resolve) => {
        const told = (): void => {
          this.#waiting.delete(told);
          resolve();
        };
        this.#waiting.add(told);
      });
    }
  }

  /** One user's text stays in the agent's context: with several, no grant outlives one use, unless the policy says otherwise. */
  get onceOnly(): boolean {
    return this.#now().open?.onceOnly ?? this.#participants.size > 1;
  }

  #now(): TurnState {
    this.#state = expireTurn(this.#state, this.#options.now(), limits.turnsRemembered.value);
    return this.#state;
  }
}
