import { limits } from '../../../pure/contracts/index.ts';
import { AnswerLine } from './answer-line.ts';
import type { InputSource } from './terminal-input.ts';

/** Monotonic milliseconds, and a call after some of them. */
export interface Clock {
  now(): number;
  after(ms: number, work: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};

export type LineAnswer =
  | { readonly kind: 'entered'; readonly text: string }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'gone' };

export interface LineParts {
  readonly input: InputSource;
  readonly write: (text: string) => void;
  readonly clock: Clock;
}

/**
 * Reads one line in raw mode, echoed here. What was typed before the question stood on the screen is no answer to it (R47): input
 * is thrown away until the guard time is over and the keyboard has been silent for a moment.
 */
export function readGuardedLine(parts: LineParts, gone: AbortSignal): Promise<LineAnswer> {
  const { input, write, clock } = parts;
  return new Promise((resolve) => {
    if (gone.aborted) return resolve({ kind: 'gone' });
    const line = new AnswerLine();
    const shown = clock.now();
    let lastInput = shown;
    let open = false;
    let cancelTimer: () => void = () => undefined;
    const claim = input.claim((chunk) => {
      lastInput = clock.now();
      if (!open) return;
      const event = line.take(chunk);
      if (event.kind === 'typed') return write(event.echo);
      write('\r\n');
      finish(event);
    }, true);
    const finish = (answer: LineAnswer): void => {
      cancelTimer();
      claim.release();
      gone.removeEventListener('abort', onGone);
      resolve(answer);
    };
    const onGone = (): void => {
      write('\r\n');
      finish({ kind: 'gone' });
    };
    const openWhenSilent = (): void => {
      const now = clock.now();
      const left = Math.max(
        shown + limits.answerGuard.value - now,
        lastInput + limits.answerSilence.value - now,
      );
      if (left <= 0) open = true;
      else cancelTimer = clock.after(left, openWhenSilent);
    };
    gone.addEventListener('abort', onGone);
    openWhenSilent();
  });
}
