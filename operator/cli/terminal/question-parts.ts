import { GloveboxError } from '../../../pure/contracts/index.ts';
import { hasColour } from '../output.ts';
import type { AskParts } from './ask-consent.ts';
import { freshCode } from './fresh-code.ts';
import { systemClock } from './guarded-line.ts';
import { TerminalInput } from './terminal-input.ts';

export interface PersonParts extends AskParts {
  readonly gone: AbortSignal;
  restore(): void;
}

export const personIsHere = (): boolean => process.stdin.isTTY && process.stderr.isTTY;

/** Questions on the terminal of a command that has no session at it; `otherwise` says how to do it without one. */
export function personParts(otherwise: string): PersonParts {
  if (!personIsHere())
    throw new GloveboxError('GB_USAGE', {
      detail: 'a question is asked here, and stdin or stderr is no terminal',
      hint: otherwise,
    });
  const gone = new AbortController();
  const input = new TerminalInput(process.stdin, () => gone.abort());
  const restore = (): void => input.restore();
  process.once('exit', restore);
  return {
    input,
    gone: gone.signal,
    write: (text) => void process.stderr.write(text.replaceAll(/\r?\n/g, '\r\n')),
    clock: systemClock,
    width: () => process.stderr.columns || 80,
    colour: hasColour(process.stderr),
    freshCode,
    restore,
  };
}
