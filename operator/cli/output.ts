import { escapeUntrusted } from '../../pure/render/index.ts';

type Stream = NodeJS.WriteStream;

/** https://no-color.org: any value but the empty one. */
export const hasColour = (stream: Stream): boolean =>
  stream.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';

export interface Styles {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

export function styles(stream: Stream): Styles {
  const on = hasColour(stream);
  const sgr =
    (code: number) =>
    (text: string): string =>
      on ? `\u001b[${code}m${text}\u001b[0m` : text;
  return { bold: sgr(1), dim: sgr(2), red: sgr(31), green: sgr(32), yellow: sgr(33) };
}

/** Rows in columns; every cell is escaped, since names, commands and reasons may be an agent's. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], longest = 60): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => escapeUntrusted(cell, longest)));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** JSON leaves C1 controls and bidirectional marks as they are, and it may be read on a terminal: they become escapes (R47). */
export const printJson = (value: unknown): void =>
  void process.stdout.write(`${JSON.stringify(value, null, 2).replaceAll(steering, escapedUnit)}\n`);
const steering = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Default_Ignorable_Code_Point}]/gu;
/** The line feeds of the layout stay: within a text JSON has escaped them already. */
const escapedUnit = (text: string): string =>
  text === '\n'
    ? text
    : text
        .split('')
        .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .join('');
export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const note = (text: string): void => void process.stderr.write(`glovebox: ${text}\n`);

/** `3 min ago`, at the granularity that a person reads. */
export function ago(iso: string | null, now: number): string {
  if (iso === null) return '-';
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 36 ? `${hours} h ago` : `${Math.round(hours / 24)} d ago`;
}
