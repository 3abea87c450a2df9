import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { numbersIn, testNames, titles } from '../requirements.mjs';
import { readGo, readVitest } from './suites.mjs';
import { findWords, machineWords } from './words.mjs';

describe('requirements', () => {
  it('reads the names of tests, in TypeScript and Go', () => {
    const source = [
      'it(`[R8] one`, () => {});',
      "it.each([1, 2])('[R9] two: %s', () => {});",
      'test("[R10][R11] it\'s three", () => {});',
      't.Run("[R13] four", func(t *testing.T) {})',
      "// it says ('nothing')",
    ].join('\n');
    expect(testNames(source)).toEqual(['[R8] one', '[R9] two: %s', "[R10][R11] it's three", '[R13] four']);
  });

  it('reads one number and several', () => {
    expect(numbersIn('[R8] a')).toEqual([8]);
    expect(numbersIn('[R8][R9] a')).toEqual([8, 9]);
    expect(numbersIn('[R8, R19] a')).toEqual([8, 19]);
    expect(numbersIn('R8 [x]')).toEqual([]);
  });

  it('reads titles', () => {
    expect([...titles('## A\n\n- **R1** One.\n- **R12** Two.\n')]).toEqual([
      [1, 'One.'],
      [12, 'Two.'],
    ]);
  });
});

describe('totals', () => {
  const read = (report: unknown, ended: boolean): ReturnType<typeof readVitest> => {
    const folder = mkdtempSync(join(tmpdir(), 'glovebox-checks-'));
    try {
      writeFileSync(join(folder, 'a.json'), JSON.stringify(report));
      return readVitest(join(folder, 'a.json'), 'unit', ended);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
  const file = (status: string, ...tests: string[]): unknown => ({
    name: '/x.test.ts',
    status,
    message: 'cannot find y',
    assertionResults: tests.map((one) => ({ status: one, fullName: one })),
  });

  it('counts what passed and failed, and names what failed or was skipped', () => {
    const result = read({ testResults: [file('failed', 'passed', 'failed', 'skipped')] }, false);
    expect([result.passed, result.failed]).toEqual([1, 1]);
    expect(result.notes.map((note) => note.split(':')[0])).toEqual(['failed', 'skipped']);
  });

  it('counts a file that does not load, an error outside the tests, and no result at all as failures', () => {
    expect(read({ testResults: [file('failed')] }, false).failed).toBe(1);
    expect(read({ testResults: [file('passed', 'passed')] }, false).failed).toBe(1);
    expect(read({ testResults: [] }, true).failed).toBe(1);
    expect(readVitest('/nonexistent/a.json', 'unit', true).failed).toBe(1);
    expect(read({ testResults: [file('passed', 'passed')] }, true).failed).toBe(0);
  });

  it('counts the tests of Go, and a package that does not compile as one failure', () => {
    const lines = ['pass', 'fail', 'skip'].map((Action) =>
      JSON.stringify({ Action, Test: 'T', Package: 'p' }),
    );
    expect(readGo([...lines, '{"Action":"pass","Package":"p"}'].join('\n'), false)).toMatchObject({
      passed: 1,
      failed: 1,
    });
    expect(readGo('./main.go:1: undefined: x', false)).toMatchObject({ passed: 0, failed: 1 });
  });
});

describe('words that belong to a machine', () => {
  const words = machineWords('/srv/people/somebody', 'build-box-7', '/srv/checkouts/glovebox');
  it.each([
    ['the home folder', 'cat /srv/people/somebody/notes'],
    ['the name of the machine', 'ssh build-box-7'],
    ['the folder of the checkout', 'cd /srv/checkouts/glovebox/pure'],
    ["a path in another person's home", ['', 'home', 'carol', 'x'].join('/')],
  ])('finds %s', (_what, text) => {
    expect(findWords(`fine\n${text}`, words).map(({ line }) => line)).toEqual([2]);
  });

  it('lets the names pass that documents and the sandbox use', () => {
    const text = 'HOME=/home/agent/x\n/home/alice/project\n/usr/bin/node\n/workspace/a\nmy-build-box-70';
    expect(findWords(text, words)).toEqual([]);
  });
});
