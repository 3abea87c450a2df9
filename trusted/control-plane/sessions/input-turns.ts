import type { UserId } from '../../../pure/contracts/index.ts';
import type { SessionRunOptions } from './session-run.ts';
import type { TurnBook } from './turn-book.ts';

/** Who attaches, and as what. `input`: what they send reaches the command, in a turn of theirs. */
export interface AttachRequest {
  readonly user: UserId;
  readonly input: boolean;
  readonly foreground: boolean;
  readonly process?: string | undefined;
}

/** Who is attached to a session and may type, and whose turn their typing opens. */
export class InputTurns {
  readonly #options: Pick<SessionRunOptions, 'audit' | 'order'>;
  readonly #turns: TurnBook;
  readonly #users = new Map<string, UserId>();

  constructor(options: Pick<SessionRunOptions, 'audit' | 'order'>, turns: TurnBook) {
    this.#options = options;
    this.#turns = turns;
  }

  attached(attachId: string, user: UserId): void {
    this.#users.set(attachId, user);
  }

  detached(attachId: string): void {
    this.#users.delete(attachId);
  }

  /**
   * Somebody types whose turn it is not: from here on it is, and the gateway holds what was typed until it has heard so (R36). Who
   * it is was proven when they attached; the gateway says only which attachment it was.
   */
  async heed(attachId: string): Promise<void> {
    const { audit, order } = this.#options;
    const user = this.#users.get(attachId);
    if (user === undefined) return;
    const before = this.#turns.current?.user;
    if (before !== user) {
      await audit.record({
        session: order.sessionId,
        sandbox: order.sandboxId,
        user,
        operation: 'turn.open',
        decision: 'allow',
        rule: 'input',
        detail: `after ${before ?? 'nobody'}`,
      });
    }
    await this.#turns.of(user);
  }
}
