import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { withLock } from '../../../tools/setup/lock.mjs';
import { root } from '../sidecar-names.ts';
import { npmEnvironment } from '../../../tools/setup/packages.mjs';

const program = 'node_modules/@modelcontextprotocol/conformance/dist/index.js';
const preload = join(root, 'test/integration/mcp/older-node.mjs');

/** The suite that knows the revisions up to 2025-11-25; it is installed with the other packages. */
export const earlierSuite = join(root, program);

/** The suite that knows the newest revision is not finished, so it is not among the packages: it is kept beside the tools. */
export async function currentSuite(): Promise<string> {
  const wanted = join(root, 'test/integration/mcp/current-suite');
  const given = process.env['XDG_CACHE_HOME'];
  const cache = given !== undefined && isAbsolute(given) ? given : join(homedir(), '.cache');
  const version = /"@modelcontextprotocol\/conformance": "(.+)"/.exec(
    readFileSync(join(wanted, 'package.json'), 'utf8'),
  )?.[1];
  const folder = join(cache, 'glovebox/test-tools', `mcp-conformance-${version}`);
  await withLock(`${folder}.lock`, 'installing the MCP conformance suite', async () => {
    if (existsSync(join(folder, 'installed'))) return;
    mkdirSync(folder, { recursive: true });
    await cp(wanted, folder, { recursive: true });
    const options = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'];
    const env = { ...process.env, ...npmEnvironment() };
    await promisify(execFile)('npm', options, { cwd: folder, env, timeout: 120_000 });
    mkdirSync(join(folder, 'installed'));
  });
  return join(folder, program);
}

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
