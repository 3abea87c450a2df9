/**
 * Text of an agent's, made safe to stand in a line of ours (R47): what could move the cursor, change direction, join, hide or
 * forge a line is shown as an escape that can be read. The result is one line.
 */

/**
 * Controls, format characters (bidirectional marks, zero-width joiners), surrogates, private use, unassigned, line and paragraph
 * separators, every space but U+0020, and letters that are drawn as nothing.
 */
const invisible = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/u;
const mark = /\p{M}/u;
/** More marks than this on one letter are drawn over the lines above and below. */
const marksOnOneLetter = 2;

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escapeCharacter(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x100) return shortEscapes[char] ?? `\\x${code.toString(16).padStart(2, '0')}`;
  return `\\u{${code.toString(16)}}`;
}

function* escapedCharacters(text: string): Generator<string> {
  let marks = 0;
  let first = true;
  for (const char of text) {
    const isMark = mark.test(char);
    marks = isMark ? marks + 1 : 0;
    // A mark at the start would be drawn on what we wrote before it.
    const stray = isMark && (first || marks > marksOnOneLetter);
    first = false;
    yield stray || invisible.test(char) ? escapeCharacter(char) : char;
  }
}

/** `text` as one line without control characters, its first `max` characters; what is cut is counted, visibly. */
export function escapeUntrusted(text: string, max: number): string {
  const characters = [...text];
  const shown = [...escapedCharacters(characters.slice(0, max).join(''))].join('');
  const hidden = characters.length - max;
  return hidden > 0 ? `${shown}… [${hidden} more characters not shown]` : shown;
}

/** Several lines of an agent's text (a diff, say): line feeds and tabs stay, all else is escaped. */
export function escapeLines(text: string): string {
  return text
    .split('\n')
    .map((line) =>
      line
        .split('\t')
        .map((part) => [...escapedCharacters(part)].join(''))
        .join('\t'),
    )
    .join('\n');
}

/** The letters that are not plain ASCII, by number: `а U+0430` looks like an `a` and is none. */
export function foreignLetters(text: string, max = 6): string[] {
  const found = new Set<string>();
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (code > 0x7e)
      found.add(`${escapeUntrusted(char, 1)} U+${code.toString(16).toUpperCase().padStart(4, '0')}`);
  }
  const all = [...found];
  return all.length > max ? [...all.slice(0, max), `and ${all.length - max} more`] : all;
}

/** Columns, at most: a letter beyond ASCII may be two wide, and what wraps by itself would begin a line of its own. */
const columns = (char: string): number => ((char.codePointAt(0) ?? 0) > 0x7e ? 2 : 1);

/** One line cut into lines of at most `width` columns. */
export function wrap(line: string, width: number): string[] {
  const room = Math.max(8, width);
  const lines: string[] = [];
  let current = '';
  let used = 0;
  for (const char of line) {
    const wide = columns(char);
    if (used + wide > room) {
      lines.push(current);
      current = '';
      used = 0;
    }
    current += char;
    used += wide;
  }
  return [...lines, current];
}
