import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { metricsDocument } from './metrics-document.ts';

it('docs/metrics.md says what the table of metrics says', () => {
  const written = readFileSync(new URL('../docs/metrics.md', import.meta.url), 'utf8');
  expect(written, 'docs/metrics.md is out of date: npm run docs').toBe(metricsDocument());
});
