import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { conformanceSuite } from '../../../tools/checks/test-tools.mjs';
import { root } from '../sidecar-names.ts';

const program = 'node_modules/@modelcontextprotocol/conformance/dist/index.js';
const preload = join(root, 'test/integration/mcp/older-node.mjs');

/** The suite that knows the revisions up to 2025-11-25; it is installed with the other packages. */
export const earlierSuite = join(root, program);

/** The suite that knows the newest revision. */
export const currentSuite = async (): Promise<string> => join(await conformanceSuite(), program);

export const suiteCommand = (suite: string, url: string, output: string, more: string[]): string[] => [
  ...[process.execPath, '--import', preload, suite],
  ...['server', '--url', url, '--output-dir', output, ...more],
];

const checks = z.array(
  z.looseObject({ id: z.string(), status: z.string(), errorMessage: z.string().optional() }),
);

/** What did not hold, by `scenario: check`; `ran` are all scenarios. */
export function readResults(output: string): { ran: string[]; passed: string[]; failed: string[] } {
  const ran: string[] = [];
  const passed: string[] = [];
  const failed: string[] = [];
  for (const folder of readdirSync(output).sort()) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT[\dTZ-]+$/.exec(folder)?.[1] ?? folder;
    ran.push(scenario);
    for (const check of checks.parse(JSON.parse(readFileSync(join(output, folder, 'checks.json'), 'utf8')))) {
      const name = `${scenario}: ${check.id}`;
      if (check.status === 'SUCCESS') passed.push(name);
      if (check.status === 'FAILURE') failed.push(name);
    }
  }
  return { ran, passed, failed };
}
