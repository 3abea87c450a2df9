export { escapeLines, escapeUntrusted, foreignLetters } from './escape-untrusted.ts';
export { promptStart, renderQuestion, type AnswerCodes } from './question.ts';
export { TerminalFilter } from './terminal-filter.ts';
export { freshLine, terminalReset } from './terminal-reset.ts';
