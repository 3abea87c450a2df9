import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { scopesDocument } from './scopes-document.ts';

it('[R35] docs/scopes.md says what the tools’ definitions say', () => {
  const written = readFileSync(new URL('../docs/scopes.md', import.meta.url), 'utf8');
  expect(written, 'docs/scopes.md is out of date: npm run docs').toBe(scopesDocument());
});
