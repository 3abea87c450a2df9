import type { ConsentMode, ConsentQuestion } from '../../../pure/contracts/index.ts';
import { renderQuestion, type AnswerCodes } from '../../../pure/render/index.ts';
import { readGuardedLine, type LineParts } from './guarded-line.ts';

export interface AskParts extends LineParts {
  readonly width: () => number;
  readonly colour: boolean;
  /** A fresh code: digits that the agent cannot know. */
  readonly freshCode: () => string;
}

export type ConsentAnswer =
  | { readonly kind: 'approve'; readonly mode: ConsentMode }
  | { readonly kind: 'deny' }
  /** Too many wrong codes: the question waits for `glovebox approve`. */
  | { readonly kind: 'left' }
  /** It was answered elsewhere, expired, or its session ended. */
  | { readonly kind: 'gone' };

const attempts = 3;

function freshCodes(fresh: () => string): AnswerCodes {
  const once = fresh();
  let session = fresh();
  while (session === once) session = fresh();
  return { once, session };
}

/** Shows the question and reads the answer. Every time it is shown it has new codes: a wrong one wears the old ones out. */
export async function askConsent(
  parts: AskParts,
  question: ConsentQuestion,
  gone: AbortSignal,
): Promise<ConsentAnswer> {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const codes = freshCodes(parts.freshCode);
    parts.write(renderQuestion(question, codes, parts.width(), parts.colour).replaceAll('\n', '\r\n'));
    const answer = await readGuardedLine(parts, gone);
    if (answer.kind === 'gone') return { kind: 'gone' };
    if (answer.kind === 'interrupted' || answer.text === 'd') return { kind: 'deny' };
    if (answer.text === codes.once) return { kind: 'approve', mode: 'once' };
    if (answer.text === codes.session) return { kind: 'approve', mode: 'session' };
    parts.write('That is none of the codes on the screen; nothing was granted.\r\n');
  }
  return { kind: 'left' };
}
