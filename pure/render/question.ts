import type { ConsentQuestion } from '../contracts/index.ts';
import { escapeUntrusted, foreignLetters, wrap } from './escape-untrusted.ts';

/** What must be typed: a fresh code for each answer, so that neither type-ahead nor the agent's output can be one (R47). */
export interface AnswerCodes {
  readonly once: string;
  readonly session: string;
}

/** The line that the answer is typed on. Nothing of an agent's can begin a line, so none can look like it. */
export const promptStart = 'answer> ';
const edge = '  ';
const bar = '│ ';
const labelWidth = 11;

type Style = (text: string) => string;
const plain: Style = (text) => text;
const bold: Style = (text) => `\u001b[1m${text}\u001b[0m`;

interface Field {
  readonly label: string;
  readonly text: string;
  readonly max: number;
}

/** A field: our label once, then the text behind a bar on every line, so that each line of it shows whose words it holds. */
function renderField(field: Field, width: number): string[] {
  const room = width - edge.length - labelWidth - bar.length - 1;
  return wrap(escapeUntrusted(field.text, field.max), room).map(
    (part, index) => `${edge}${(index === 0 ? field.label : '').padEnd(labelWidth)}${bar}${part}`,
  );
}

function strangers(label: string, text: string): Field[] {
  const letters = foreignLetters(text);
  if (letters.length === 0) return [];
  return [
    { label: '  careful:', text: `the ${label} has letters beyond ASCII: ${letters.join(', ')}`, max: 400 },
  ];
}

/**
 * A consent question as a person sees it, whole: scope, operation, host, arguments, and the agent's reason as the agent's. The
 * same question renders the same in `run` and in `approve`. No control character but line feeds (and SGR, with `colour`).
 */
export function renderQuestion(
  question: ConsentQuestion,
  codes: AnswerCodes,
  width: number,
  colour = false,
): string {
  const strong = colour ? bold : plain;
  const wide = Math.max(40, Math.min(width, 120));
  const fields: Field[] = [
    { label: 'session', text: `${question.sessionName} (${question.sessionId})`, max: 120 },
    { label: 'for', text: question.user, max: 200 },
    { label: 'scope', text: question.scope, max: 300 },
    ...strangers('scope', question.scope),
    { label: 'operation', text: question.operation, max: 200 },
    ...(question.host === null
      ? []
      : [{ label: 'host', text: question.host, max: 300 }, ...strangers('host', question.host)]),
    {
      label: 'arguments',
      text: question.argumentsText === '' ? '(none)' : question.argumentsText,
      max: 1500,
    },
  ];
  const asked = question.count > 1 ? `, asked ${question.count} times` : '';
  const lines = [
    strong(`Glovebox: the agent asks for permission${asked}`),
    ...fields.flatMap((field) => renderField(field, wide)),
    `${edge}the agent gives as its reason (its own words, which may mislead):`,
    ...renderField({ label: '', text: question.reason === '' ? '(none)' : question.reason, max: 500 }, wide),
    `${edge}${strong(codes.once)}  allow it once`,
    `${edge}${strong(codes.session)}  allow it for the rest of this session`,
    `${edge}${strong('d'.padEnd(codes.once.length))}  deny it`,
  ];
  return `${lines.join('\n')}\n${promptStart}`;
}
