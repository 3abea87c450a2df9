import { limits, type UserId } from '../../../pure/contracts/index.ts';
import type { Turns } from '../turns.ts';

/** Whether what somebody sends may reach the command now: in a turn of their own, and in no other (R36). */
export interface InputGate {
  /** Looked at right before each write, with nothing waited for between. */
  readonly open: () => boolean;
  /** Asks for this person's turn; resolves when it may be theirs. */
  readonly ask: () => Promise<void>;
}

/** `say` tells the control plane that this person types; it opens their turn, and says so on the bus. */
export function inputGate(
  turns: Pick<Turns, 'user' | 'until'>,
  user: UserId,
  say: () => void,
  delay: (ms: number) => Promise<void>,
): InputGate {
  return {
    open: () => turns.user() === user,
    ask: async () => {
      say();
      // The bus may lose a word: whoever still waits asks again.
      await Promise.race([turns.until(user), delay(limits.turnWait.value)]);
    },
  };
}
