import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConsentQuestion } from '../contracts/index.ts';
import { escapeLines, escapeUntrusted, foreignLetters, promptStart, renderQuestion } from './index.ts';

const codes = { once: '4821', session: '9073' };
const base: ConsentQuestion = {
  id: 'q'.repeat(26),
  sessionId: 's'.repeat(26),
  sessionName: 'calm-fox',
  user: 'local/1000',
  turnId: 't'.repeat(26),
  scope: 'files:read:/shared/notes.txt',
  operation: 'files.read',
  host: null,
  argumentsText: '{"path":"/shared/notes.txt"}',
  argsHash: '00',
  reason: 'to answer your question',
  createdAt: '2026-11-01T00:00:00.000Z',
  expiresAt: '2026-11-01T00:05:00.000Z',
  digest: 'd',
  state: 'pending',
  count: 1,
};

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc
    .array(
      fc.constantFrom(
        '\u001b[2J',
        '\u001b]52;c;eA==\u0007',
        '\n',
        '\r',
        promptStart,
        '4821',
        '\u202e',
        '\u200b',
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join('')),
);
const question = fc
  .record({
    scope: hostile,
    operation: hostile,
    host: fc.option(hostile),
    argumentsText: hostile,
    reason: hostile,
  })
  .map((parts): ConsentQuestion => ({ ...base, ...parts }));

describe('the consent question', () => {
  test('[R39] shows scope, operation, host, arguments and reason, and the codes', () => {
    const text = renderQuestion({ ...base, host: 'api.example.com' }, codes, 80);
    for (const part of [
      base.scope,
      base.operation,
      'api.example.com',
      base.argumentsText,
      base.reason,
      'calm-fox',
    ])
      expect(text).toContain(part);
    expect(text).toMatch(/4821 {2}allow it once/);
    expect(text).toMatch(/9073 {2}allow it for the rest/);
    expect(text).toContain('its own words');
  });

  test('[R47] no input yields a control character, or a line that could be ours', () => {
    fc.assert(
      fc.property(question, fc.integer({ min: 1, max: 300 }), (asked, width) => {
        const lines = renderQuestion(asked, codes, width).split('\n');
        for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(lines.at(-1)).toBe(promptStart);
        const body = lines.slice(1, -1);
        for (const line of body) expect(line.startsWith('  ')).toBe(true);
        // Words of the agent's stand behind a bar; the lines without one are ours and do not change with the input.
        const ours = renderQuestion(base, codes, width).split('\n').slice(1, -1);
        const unbarred = (all: readonly string[]) => all.filter((line) => !line.includes('│'));
        expect(unbarred(body)).toEqual(unbarred(ours));
      }),
      { numRuns: 500 },
    );
  });

  test('[R47] with colour the only control sequences are our own bold and reset', () => {
    fc.assert(
      fc.property(question, (asked) => {
        const text = renderQuestion(asked, codes, 80, true).replaceAll(/\u001b\[[01]m/g, '');
        expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  test('[R47] no line is wider than the terminal, so that none wraps by itself', () => {
    fc.assert(
      fc.property(question, fc.integer({ min: 40, max: 200 }), (asked, width) => {
        for (const line of renderQuestion(asked, codes, width).split('\n').slice(1, -1)) {
          const wide = [...line].reduce((sum, char) => sum + (/[ -~│…]/u.test(char) ? 1 : 2), 0);
          if (line.includes('│')) expect(wide).toBeLessThanOrEqual(width);
        }
      }),
    );
  });

  test('a letter that only looks like an ASCII one is pointed out', () => {
    const text = renderQuestion({ ...base, host: 'ex\u0430mple.com' }, codes, 100);
    expect(text).toContain('the host has letters beyond ASCII: \u0430 U+0430');
    expect(renderQuestion({ ...base, host: 'example.com' }, codes, 100)).not.toContain('careful');
  });

  test('what is cut is counted', () => {
    expect(escapeUntrusted('x'.repeat(30), 10)).toBe(`${'x'.repeat(10)}… [20 more characters not shown]`);
    const text = renderQuestion({ ...base, reason: 'y'.repeat(2000) }, codes, 300);
    expect(text.replaceAll(/\n\s*│ /g, '')).toContain('[1500 more characters not shown]');
  });
});

describe('escaped text', () => {
  test('[R47] is one printable line for any input', () => {
    fc.assert(
      fc.property(hostile, fc.nat(400), (text, max) => {
        expect(escapeUntrusted(text, max)).toMatch(
          /^[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]*$/u,
        );
      }),
    );
  });

  test('plain words of any language stay as they are', () => {
    for (const words of ['plain words', 'Grüße', 'naïve café', '日本語', 'привет'])
      expect(escapeUntrusted(words, 100)).toBe(words);
  });

  test('says what it hides', () => {
    expect(escapeUntrusted('a\u001b[31mb\n\u202ec\u200bd\u00a0', 100)).toBe(
      'a\\x1b[31mb\\n\\u{202e}c\\u{200b}d\\xa0',
    );
    expect(escapeUntrusted('Z\u0300\u0301\u0302\u0303', 100)).toBe('Z\u0300\u0301\\u{302}\\u{303}');
  });

  test('a diff keeps its lines and tabs, and nothing else that moves the cursor', () => {
    expect(escapeLines('+\ta\u001b[2J\r\n-b')).toBe('+\ta\\x1b[2J\\r\n-b');
  });

  test('foreign letters are listed once each, and bounded', () => {
    expect(foreignLetters('аа')).toEqual(['а U+0430']);
    expect(foreignLetters('абвгдежз')).toHaveLength(7);
  });
});
