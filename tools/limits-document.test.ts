import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { limitsDocument, readable } from './limits-document.ts';

it('[R45] docs/limits.md says what the table of limits says', () => {
  const written = readFileSync(new URL('../docs/limits.md', import.meta.url), 'utf8');
  expect(written, 'docs/limits.md is out of date: npm run docs').toBe(limitsDocument());
});

it('a limit is written in the unit that a person would use', () => {
  const base = { owner: 'a', bounds: 'b', reached: 'c' } as const;
  expect(readable({ ...base, value: 65_536, unit: 'bytes' })).toBe('64 KiB');
  expect(readable({ ...base, value: 864_000_000, unit: 'ms' })).toBe('10 d');
  expect(readable({ ...base, value: 90_000, unit: 'ms' })).toBe('90 s');
  expect(readable({ ...base, value: 1_500, unit: 'ms' })).toBe('1,500 ms');
  expect(readable({ ...base, value: 30, unit: 'per minute' })).toBe('30 per minute');
  expect(readable({ ...base, value: 512, unit: 'count' })).toBe('512');
});
