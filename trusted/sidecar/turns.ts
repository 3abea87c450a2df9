import { asTurnId, asUserId, type TurnId, type UserId } from '../../pure/contracts/index.ts';

/** Under whose turn something happens: stamped when it arrives, and kept to its end (R36). */
export interface Stamp {
  readonly turnId: TurnId;
  readonly user: UserId;
}

/** At most one turn is open. Opening one ends the one before; closing names the one that is meant. */
export class Turns {
  readonly opened: Promise<void>;
  readonly #participants = new Set<UserId>();
  #current: Stamp | null = null;
  #open: () => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(turnId: string, user: string): void {
    const stamp = { turnId: asTurnId(turnId), user: asUserId(user) };
    this.#participants.add(stamp.user);
    this.#current = stamp;
    this.#open();
  }

  close(turnId: string): void {
    if (this.#current?.turnId === turnId) this.#current = null;
  }

  stamp(): Stamp | null {
    return this.#current;
  }

  /** One user's text stays in the agent's context: with several, no grant outlives one use. */
  get severalUsers(): boolean {
    return this.#participants.size > 1;
  }
}
