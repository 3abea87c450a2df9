import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSessionRequest, endReasons } from '../../../pure/contracts/index.ts';
import { readDuration } from './duration.ts';
import { endText, exitCodeOf } from './end-text.ts';
import { agentEnvironment } from './environment.ts';
import { looksLikeKey } from '../../../pure/secrets/index.ts';
import { sessionRequest, type Ends } from './session-request.ts';

const terminal: Ends = { stdin: true, stdout: true, rows: 24, cols: 80 };
const pipes: Ends = { stdin: false, stdout: false, rows: 24, cols: 80 };

describe('[R27] a value that looks like a key', () => {
  const keys: readonly (readonly [string, string])[] = [
    ['X', 'sk-ant-api03-abcdefgh'],
    ['X', 'ghp_0123456789abcdefghij'],
    ['X', 'AKIAIOSFODNN7EXAMPLE'],
    ['X', 'xoxb-12345678-abcdef'],
    ['X', '-----BEGIN RSA PRIVATE KEY-----\nabc'],
    ['X', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl'],
    ['X', 'postgres://user:secret@db/x'],
    ['SOME_TOKEN', '8f14e45fceea167a5a36dedd4bea2543'],
    ['DB_PASSWORD', 'Xk29fLq81bZp0TrWvN4c'],
  ];
  for (const [name, value] of keys)
    test(`is refused: ${name}=${value.slice(0, 8)}…`, () => {
      expect(looksLikeKey(name, value)).not.toBeNull();
      const refused = (): unknown => agentEnvironment([`${name}=${value}`], []);
      expect(refused).toThrow(expect.objectContaining({ code: 'GB_KEY_IN_ENVIRONMENT' }));
      expect(refused).not.toThrow(value.slice(8));
      expect(agentEnvironment([], [`${name}=${value}`])).toEqual({ [name]: value });
    });

  const harmless: readonly (readonly [string, string])[] = [
    ['NODE_ENV', 'production'],
    ['COMMIT', '8f14e45fceea167a5a36dedd4bea2543'],
    ['TOKEN_LIMIT', '20000'],
    ['KEYBOARD', 'us'],
    ['URL', 'https://example.com/a?b=c'],
    ['GREETING', 'a long sentence with many words in it'],
  ];
  for (const [name, value] of harmless)
    test(`is not: ${name}=${value}`, () => expect(looksLikeKey(name, value)).toBeNull());

  test('a placeholder passes, whatever the variable is called', () => {
    expect(agentEnvironment(['API_KEY=secret:anthropic'], [])).toEqual({ API_KEY: 'secret:anthropic' });
  });
  test('a setting without a value or with a bad name is refused', () => {
    for (const setting of ['HOME', '=x', '1A=x', 'A B=x'])
      expect(() => agentEnvironment([setting], [])).toThrow(
        expect.objectContaining({ code: 'GB_INPUT_INVALID' }),
      );
  });
});

describe('what a run asks for', () => {
  test('is a request of the contract', () => {
    const request = sessionRequest(['a'], { name: 'n', tier: 'pro', ttl: '30m' }, terminal, {
      TERM: 'xterm',
      PATH: '/bin',
    });
    expect(createSessionRequest.parse(request)).toEqual(request);
    expect(request).toMatchObject({
      terminal: { rows: 24, cols: 80, term: 'xterm' },
      stdin: true,
      ttlSeconds: 1800,
      path: '/bin',
    });
  });
  test('a terminal only where both ends are one, or it is forced', () => {
    const of = (ends: Ends, options = {}) => sessionRequest(['a'], options, ends, {}).terminal !== null;
    expect([of(terminal), of(pipes), of({ ...terminal, stdout: false }), of(pipes, { tty: true })]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(of(terminal, { detach: true })).toBe(false);
  });
  test('stdin is the command’s where it is a pipe or a terminal of its own, or where -i says so', () => {
    const of = (ends: Ends, options = {}) => sessionRequest(['a'], options, ends, {}).stdin;
    const halfway = { ...terminal, stdout: false };
    expect([of(pipes), of(terminal), of(halfway), of(halfway, { interactive: true })]).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(of(pipes, { detach: true })).toBe(false);
  });
  test('a policy file goes along as text; one that is missing is one clear error', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gb-policy-'));
    const file = join(folder, 'p.yaml');
    writeFileSync(file, 'version: 1\n');
    expect(sessionRequest(['a'], { policy: file }, pipes, {}).policy).toEqual({ text: 'version: 1\n', file });
    for (const other of [folder, `${file}.none`])
      expect(() => sessionRequest(['a'], { policy: other }, pipes, {})).toThrow(
        expect.objectContaining({ code: 'GB_INPUT_INVALID' }),
      );
    rmSync(folder, { recursive: true });
  });
});

test('durations', () => {
  expect(['1s', '30m', '8h', '2d'].map(readDuration)).toEqual([1, 1800, 28800, 172800]);
  for (const bad of ['', '0s', '5', '1w', '-1h', '1.5h', '31d', '1h30m'])
    expect(() => readDuration(bad)).toThrow(expect.objectContaining({ code: 'GB_INPUT_INVALID' }));
});

describe('how a run ends', () => {
  test('the command’s own code, or 128 and its signal', () => {
    expect(exitCodeOf({ code: 3, signal: null, reason: 'exited' })).toBe(3);
    expect(exitCodeOf({ code: null, signal: 9, reason: 'exited' })).toBe(137);
  });
  test('every other end has a code that is not a success, and a line that says why', () => {
    for (const reason of endReasons.filter((one) => one !== 'exited')) {
      expect(exitCodeOf({ code: null, signal: null, reason })).toBeGreaterThan(0);
      expect(endText(reason, undefined)).toMatch(/^the session ended: \S/);
    }
    expect(endText('exited', undefined)).toBeNull();
    const told = { detail: 'the tier holds 4 GiB', expiresAt: 'then' };
    expect(endText('memory-limit', told)).toMatch(/: the tier holds 4 GiB$/);
  });
  test('a session without a known end is no success', () => {
    expect(exitCodeOf({ code: null, signal: null, reason: 'exited' })).toBe(70);
  });
});
