import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { commands } from '../operator/cli/command-table.ts';
import { cliDocument } from './cli-document.ts';

it('docs/cli.md says what the commands say', () => {
  const written = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8');
  expect(written, 'docs/cli.md is out of date: npm run docs').toBe(cliDocument());
  for (const { usage } of commands) expect(written).toContain(`glovebox ${usage}`);
});
