import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limits, type ConsentQuestion } from '../../../pure/contracts/index.ts';
import { AnswerLine } from './answer-line.ts';
import { askConsent, type AskParts, type ConsentAnswer } from './ask-consent.ts';
import { DetachKeys } from './detach-keys.ts';
import { OutputGate } from './output-gate.ts';
import type { InputSource } from './terminal-input.ts';

const question: ConsentQuestion = {
  id: 'q'.repeat(26),
  sessionId: 's'.repeat(26),
  sessionName: 'calm-fox',
  user: 'local/0',
  turnId: 't'.repeat(26),
  scope: 'files:read:/shared/notes.txt',
  operation: 'files.read',
  host: null,
  argumentsText: '',
  argsHash: '00',
  reason: '',
  createdAt: '2026-11-01T00:00:00.000Z',
  expiresAt: '2026-11-01T00:05:00.000Z',
  digest: '',
  state: 'pending',
  count: 1,
};

/** A clock that moves when the test says so, a keyboard, and a screen. */
function desk() {
  let now = 0;
  const timers = new Set<{ at: number; work: () => void }>();
  let take: ((chunk: Buffer) => void) | undefined;
  let screen = '';
  const input: InputSource = {
    claim(reader) {
      take = reader;
      return { release: () => (take = undefined), pause: () => undefined, resume: () => undefined };
    },
  };
  let code = 1000;
  const parts: AskParts = {
    input,
    write: (text) => void (screen += text),
    clock: {
      now: () => now,
      after(ms, work) {
        const timer = { at: now + ms, work };
        timers.add(timer);
        return () => void timers.delete(timer);
      },
    },
    width: () => 80,
    colour: false,
    freshCode: () => String((code += 1)),
  };
  return {
    parts,
    screen: () => screen,
    type: (text: string) => take?.(Buffer.from(text, 'latin1')),
    pass(ms: number) {
      const end = now + ms;
      for (;;) {
        const next = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        timers.delete(next);
        now = next.at;
        next.work();
      }
      now = end;
    },
    codes: () => screen.match(/\d{4}(?= {2}allow)/g)?.slice(-2) ?? [],
  };
}

const never = new AbortController().signal;
const open = limits.answerGuard.value + limits.answerSilence.value;
/** The next turn of the event loop: promises that are ready have gone on. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the answer to a consent question', () => {
  const cases: readonly (readonly [string, (codes: readonly string[]) => string, ConsentAnswer])[] = [
    ['the first code allows once', ([once]) => once!, { kind: 'approve', mode: 'once' }],
    [
      'the second code allows for the session',
      ([, session]) => session!,
      { kind: 'approve', mode: 'session' },
    ],
    ['d denies', () => 'd', { kind: 'deny' }],
  ];
  for (const [name, typed, expected] of cases)
    test(`[R39] ${name}`, async () => {
      const { parts, type, pass, codes } = desk();
      const answer = askConsent(parts, question, never);
      pass(open);
      type(`${typed(codes())}\r`);
      expect(await answer).toEqual(expected);
    });

  test('[R47] what was typed before or during the guard is thrown away, even the right code', async () => {
    const { parts, type, pass, codes } = desk();
    const answer = askConsent(parts, question, never);
    type(`${codes()[0]}\r`);
    pass(limits.answerGuard.value - 1);
    type(`${codes()[0]}\r`);
    // The keyboard was not silent: the guard goes on.
    pass(limits.answerSilence.value - 1);
    type(`${codes()[0]}\r`);
    pass(limits.answerSilence.value);
    type('d\r');
    expect(await answer).toEqual({ kind: 'deny' });
  });

  test('[R47] what a terminal sends by itself is no answer', async () => {
    const { parts, type, pass, codes } = desk();
    const answer = askConsent(parts, question, never);
    pass(open);
    type(`\u001b[?${codes()[0]}\r`);
    type(`\u001b[200~${codes()[0]}\r`);
    type('d\r');
    expect(await answer).toEqual({ kind: 'deny' });
  });

  test('[R47] three wrong answers grant nothing, leave the question open, and each had codes of its own', async () => {
    const { parts, type, pass, codes, screen } = desk();
    const answer = askConsent(parts, question, never);
    const used: (readonly string[])[] = [];
    for (const wrong of ['', 'yes', 'y']) {
      pass(open);
      used.push(codes());
      type(`${wrong}\r`);
      await turn();
    }
    expect(await answer).toEqual({ kind: 'left' });
    expect(new Set(used.flat()).size).toBe(6);
    expect(screen().match(/none of the codes/g)).toHaveLength(3);
  });

  test('a code of an earlier showing is worn out', async () => {
    const { parts, type, pass, codes } = desk();
    const answer = askConsent(parts, question, never);
    const [old] = codes();
    pass(open);
    type('x\r');
    await turn();
    pass(open);
    type(`${old}\r`);
    await turn();
    pass(open);
    type(`${codes()[1]}\r`);
    expect(await answer).toEqual({ kind: 'approve', mode: 'session' });
  });

  test('Ctrl-C denies, and an answer elsewhere takes the question away', async () => {
    const first = desk();
    const denied = askConsent(first.parts, question, never);
    first.pass(open);
    first.type('\u0003');
    expect(await denied).toEqual({ kind: 'deny' });
    const second = desk();
    const gone = new AbortController();
    const answer = askConsent(second.parts, question, gone.signal);
    gone.abort();
    expect(await answer).toEqual({ kind: 'gone' });
  });
});

describe('an answer line', () => {
  test('backspace takes back, and what follows the end of the line is thrown away', () => {
    const line = new AnswerLine();
    expect(line.take(Buffer.from('12x\u007f'))).toEqual({ kind: 'typed', echo: '12x\b \b' });
    expect(line.take(Buffer.from('3\rd\r'))).toEqual({ kind: 'entered', text: '123' });
  });

  test('[R47] echoes printable ASCII only, and never more than it holds', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
        const line = new AnswerLine();
        for (const chunk of chunks) {
          const event = line.take(chunk);
          if (event.kind !== 'typed') return;
          expect(event.echo).toMatch(/^[\x20-\x7e\b]*$/);
        }
      }),
    );
  });
});

describe('detach keys', () => {
  const typed = (...chunks: readonly string[]) => {
    const keys = new DetachKeys();
    let left = false;
    const sent = chunks.map((chunk) =>
      keys.take(Buffer.from(chunk, 'latin1'), () => (left = true)).toString('latin1'),
    );
    return { sent: sent.join(''), left };
  };
  test('Ctrl-] d leaves, also when it arrives in two pieces', () => {
    expect(typed('ab\u001ddcd')).toEqual({ sent: 'ab', left: true });
    expect(typed('ab\u001d', 'dcd')).toEqual({ sent: 'ab', left: true });
  });
  test('everything else is sent as it is', () => {
    expect(typed('\u001d\u001d')).toEqual({ sent: '\u001d', left: false });
    expect(typed('\u001dx')).toEqual({ sent: '\u001dx', left: false });
  });
});

test('[R47] a closed gate holds output back until it is opened', async () => {
  const gate = new OutputGate();
  await gate.passed();
  gate.close();
  let passed = false;
  const waiting = gate.passed().then(() => (passed = true));
  await turn();
  expect(passed).toBe(false);
  gate.open();
  await waiting;
  expect(passed).toBe(true);
});
