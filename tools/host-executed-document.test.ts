import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { hostExecuted, hostExecutedTable } from '../pure/policy/index.ts';
import { hostExecutedDocument } from './host-executed-document.ts';

it('[R48] docs/host-executed.md says what the table says', () => {
  const written = readFileSync(new URL('../docs/host-executed.md', import.meta.url), 'utf8');
  expect(written, 'docs/host-executed.md is out of date: npm run docs').toBe(hostExecutedDocument());
});

it('[R48] each name of the table is found in any folder and any case', () => {
  for (const { names, reason } of hostExecutedTable)
    for (const name of names) {
      const path = name.endsWith('/') ? `${name}below` : name;
      expect(hostExecuted(path), path).toBe(reason);
      expect(hostExecuted(`a/b/${path.toUpperCase()}`), path).toBe(reason);
    }
  expect(hostExecuted('src/main.ts')).toBeNull();
});
