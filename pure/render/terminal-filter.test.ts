import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TerminalFilter } from './index.ts';

const latin = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function filtered(...chunks: readonly Uint8Array[]): string {
  const filter = new TerminalFilter();
  const parts = chunks.map((chunk) => Buffer.from(filter.push(chunk)));
  return Buffer.concat([...parts, filter.end()]).toString('latin1');
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...places].map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...at].map((start, index) => bytes.subarray(start, at[index] ?? bytes.length));
}

const e = '\u001b';
/** Each makes a terminal answer, sets the clipboard, reads or prints the screen, or hides what comes later. */
const forbidden: Readonly<Record<string, string>> = {
  'clipboard, BEL': `${e}]52;c;cm0gLXJmIH4=\u0007`,
  'clipboard, ST': `${e}]52;c;?${e}\\`,
  'clipboard, C1 in UTF-8': '\u00c2\u009d52;c;eA==\u0007',
  'clipboard, raw C1': '\u009d52;c;eA==\u009c',
  'kitty clipboard': `${e}]5522;type=read;Lg==${e}\\`,
  'iTerm copy': `${e}]1337;Copy=:eA==\u0007`,
  'primary DA': `${e}[c`,
  'primary DA with a parameter': `${e}[0c`,
  'secondary DA': `${e}[>c`,
  'tertiary DA': `${e}[=0c`,
  'DA, raw C1 CSI': '\u009bc',
  'DA, C1 CSI in UTF-8': '\u00c2\u009bc',
  DECID: `${e}Z`,
  'cursor report': `${e}[6n`,
  'DEC cursor report': `${e}[?6n`,
  DECRQSS: `${e}P$q"p${e}\\`,
  XTGETTCAP: `${e}P+q544e${e}\\`,
  'tmux pass-through': `${e}Ptmux;${e}${e}]52;c;eA==\u0007${e}\\`,
  DECRQM: `${e}[?2026$p`,
  XTVERSION: `${e}[>0q`,
  'title report': `${e}[21t`,
  'window size report': `${e}[18t`,
  'move the window': `${e}[3;0;0t`,
  'colour query': `${e}]11;?${e}\\`,
  'palette query': `${e}]4;1;?\u0007`,
  'colour change': `${e}]10;#000000\u0007`,
  'font query': `${e}]50;?\u0007`,
  'kitty keyboard query': `${e}[?u`,
  'graphics query': `${e}_Gi=1,a=q;AAAA${e}\\`,
  'media copy': `${e}[5i`,
  checksum: `${e}[1;1;1;1;9;9*y`,
  'terminal parameters': `${e}[x`,
  'highlight tracking, which waits for the program': `${e}[1;2;3;4;5T`,
  'keyboard lock': `${e}[2h`,
  'leave UTF-8': `${e}%@`,
  '8-bit controls': `${e} G`,
  ENQ: '\u0005',
  'reverse video': `${e}[?5h`,
  'screen title string': `${e}krm${e}\\`,
  'a link that hides a query behind a C1 terminator': `${e}]8;;x\u00c2\u009c\u00c2\u009bc\u0007`,
  'a link to a program of the host': `${e}]8;;vscode://x/y${e}\\`,
  'a link to a file of the host': `${e}]8;;file:///etc/passwd${e}\\`,
  'an override of the direction': '\u00e2\u0080\u00ae',
  'an isolate of a direction': '\u00e2\u0081\u00a7',
  'a count that is counted one by one': `${e}[2147483647b`,
  sixel: `${e}P0;0;0q"1;1;1;1#0~${e}\\`,
  'kitty graphics that read a file': `${e}_Gt=f,a=T;L2V0Yy9wYXNzd2Q=${e}\\`,
  'a title with a line feed': `${e}]0;a\n$ b\u0007`,
};

/** What a terminal in UTF-8 mode would answer, obey or hide, in whatever form: the reader of the output, not the filter's own. */
const danger = new RegExp(
  [
    '[\\x80-\\x9f]',
    '\\x05',
    '\\x1b[PX^_kZ%]',
    '\\x1b [FG]',
    '\\x1b\\](?!0;|1;|2;|8;|9;4;)',
    '\\x1b\\]8;[^;]*;(?!https?:|mailto:|\\x07|\\x1b)',
    '\\x1b\\[[0-9;:]*[0-9]{5}',
    '[\\u202a-\\u202e\\u2066-\\u2069]',
    '\\x1b\\[[0-?]*[ -/]*[cnxit](?<!\\x1b\\[2[23](;[012])?t)',
    '\\x1b\\[[>?][0-?]*q',
    '\\x1b\\[[0-?]*[$*"&#\'+]',
    '\\x1b\\[\\?[0-?]*u',
    '\\x1b\\[\\?([0-9;]*;)?(3|5)(;[0-9;]*)?h',
    '\\x1b\\[[0-9]*;[0-9;]*T',
    '\\x1b$',
  ].join('|'),
);
const asRead = (output: string): string => Buffer.from(output, 'latin1').toString('utf8');

const sequences = [
  ...[
    '[0m',
    '[1;31m',
    '[38;2;1;2;3m',
    '[4:3m',
    '[H',
    '[2;5H',
    '[10A',
    '[2T',
    '[2S',
    '[K',
    '[2J',
    '[?25l',
    '[?25h',
  ],
  ...['[?1049h', '[?1049l', '[?2004h', '[?1000;1006h', '[3;10r', '[s', '[u', '[2 q', '[!p', '[>1u', '[<u'],
  ...[
    '7',
    '8',
    '=',
    '>',
    'M',
    'D',
    'c',
    '(B',
    '(0',
    ']0;a title\u0007',
    ']8;;https://example.com\u001b\\',
    '[22;0t',
  ],
].map((rest) => `${e}${rest}`);
const plainText = fc.stringMatching(
  /^[ -~\n\r\t\u0008\u0007\u00a0-\u02ff\u2500-\u257f\u{1f600}-\u{1f64f}]*$/u,
);
const nasty = fc.constantFrom(...Object.values(forbidden)).map(latin);
const pieces = fc.array(
  fc.oneof(
    nasty,
    plainText.map(utf8),
    fc.constantFrom(...sequences).map(latin),
    fc.uint8Array({ maxLength: 6 }),
    fc
      .constantFrom(
        e,
        `${e}[`,
        `${e}]`,
        `${e}]8;;`,
        `${e}P`,
        '?',
        '\\',
        '\u0007',
        'c',
        'n',
        '\u00c2',
        '\u009b',
      )
      .map(latin),
  ),
  { maxLength: 12 },
);
const cuts = fc.array(fc.nat(400), { maxLength: 8 });

describe('the terminal filter', () => {
  for (const [name, sequence] of Object.entries(forbidden))
    test(`[R47] ${name} does not reach the terminal`, () => {
      const output = filtered(latin(`a${sequence}`), latin('b'));
      expect(asRead(output)).not.toMatch(danger);
      expect(output.startsWith('a')).toBe(true);
      expect(output.endsWith('b')).toBe(true);
    });

  test('[R47] ordinary text and sequences pass unchanged, however they are cut', () => {
    const ordinary = fc.array(fc.oneof(plainText.map(utf8), fc.constantFrom(...sequences).map(latin)));
    fc.assert(
      fc.property(ordinary, cuts, (parts, places) => {
        const bytes = Buffer.concat(parts);
        expect(filtered(...cut(bytes, places))).toBe(bytes.toString('latin1'));
      }),
    );
  });

  test('[R47] no output holds a forbidden sequence, whatever comes in and however it is cut', () => {
    fc.assert(
      fc.property(pieces, cuts, (parts, places) => {
        expect(asRead(filtered(...cut(Buffer.concat(parts), places)))).not.toMatch(danger);
      }),
      { numRuns: 1000 },
    );
  });

  test('the cuts do not change the output', () => {
    fc.assert(
      fc.property(pieces, cuts, (parts, places) => {
        const bytes = Buffer.concat(parts);
        expect(filtered(...cut(bytes, places))).toBe(filtered(bytes));
      }),
    );
  });

  test('what has passed passes again', () => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const once = filtered(...parts);
        expect(filtered(latin(once))).toBe(once);
      }),
    );
  });

  test('of several modes only the allowed ones pass, and are known afterwards', () => {
    const filter = new TerminalFilter();
    const output = Buffer.from(filter.push(latin(`${e}[?5;1049;25h`))).toString('latin1');
    expect(output).toBe(`${e}[?1049;25h`);
    expect(filter.alternate).toBe(true);
    expect(filter.modesAgain()).toBe(`${e}[?1049h${e}[?25h`);
    filter.push(latin(`${e}[?1049l`));
    expect(filter.alternate).toBe(false);
  });

  test('a letter that is cut in two arrives whole', () => {
    expect(asRead(filtered(Uint8Array.of(0xe2, 0x9c), Uint8Array.of(0x93)))).toBe('✓');
  });
});
