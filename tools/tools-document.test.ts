import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { toolsDocument } from './tools-document.ts';

it('docs/tools.md says what the table of tools says', () => {
  const written = readFileSync(new URL('../docs/tools.md', import.meta.url), 'utf8');
  expect(written, 'docs/tools.md is out of date: npm run docs').toBe(toolsDocument());
});
