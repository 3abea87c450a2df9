// What tests alone need beside the packages: real agents, suites that judge us from outside, go-spiffe. Each is kept by
// version with the tools. `npm test` brings them before the first suite begins, so that no test waits for a compiler.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../setup/command.mjs';
import { withLock } from '../setup/lock.mjs';
import { npmEnvironment } from '../setup/packages.mjs';
import { root, toolCache } from '../setup/paths.mjs';
import { say, withProgress } from '../setup/say.mjs';
import { noteCrane, opaProgram } from '../setup/tools.mjs';

/** The programs that presets are written for, as npm has them. */
export const agentPackages = {
  claude: { npm: '@anthropic-ai/claude-code', version: '2.1.197' },
  codex: { npm: '@openai/codex', version: '0.169.0' },
  gemini: { npm: '@google/gemini-cli', version: '0.61.0' },
  opencode: { npm: 'opencode-ai', version: '1.18.33' },
};

/**
 * @param {string} name with its version @param {(folder: string) => Promise<void>} install
 * @returns {Promise<string>} the folder; a later call finds it there. Throws what stopped the installation
 */
async function kept(name, install) {
  const folder = join(toolCache(), '..', 'test-tools', name);
  const complete = join(folder, '.complete');
  if (existsSync(complete)) return folder;
  return await withLock(`${folder}.lock`, `installing ${name}`, async () => {
    if (existsSync(complete)) return folder;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    say(`installing ${name} for the tests (once)`);
    await withProgress(name, () => install(folder));
    writeFileSync(complete, '');
    return folder;
  });
}

/** @param {string} folder @param {string[]} args */
const npm = (folder, ...args) =>
  run(['npm', ...args, '--no-audit', '--no-fund', '--fetch-retries=1'], {
    cwd: folder,
    env: npmEnvironment(),
  });

/** @param {{ npm: string, version: string }} agent @returns {Promise<string>} the folder of its programs */
export async function agentPrograms(agent) {
  const name = `${agent.npm.replace('/', '-')}-${agent.version}`;
  const folder = await kept(name, async (folder) => {
    await npm(folder, 'install', '--save-exact', '--prefix', folder, `${agent.npm}@${agent.version}`);
  });
  return join(folder, 'node_modules/.bin');
}

const schemathesisPins = ['schemathesis==4.32.5', 'hypothesis==6.170.15', 'hypothesis-jsonschema==0.23.1'];

/** Schemathesis in a Python environment of its own. */
export async function schemathesis() {
  const folder = await kept(`${schemathesisPins[0]?.replace('==', '-')}`, async (folder) => {
    await run(['python3', '-m', 'venv', folder]);
    const options = ['--quiet', '--no-input', '--disable-pip-version-check', '--retries', '1'];
    await run([join(folder, 'bin/pip'), 'install', ...options, ...schemathesisPins]);
  });
  return join(folder, 'bin/schemathesis');
}

/** The MCP conformance suite that knows the newest revision is not finished, so it is not among the packages. */
export async function conformanceSuite() {
  const wanted = join(root, 'test/integration/mcp/current-suite');
  const { dependencies } = JSON.parse(readFileSync(join(wanted, 'package.json'), 'utf8'));
  const version = dependencies['@modelcontextprotocol/conformance'];
  return await kept(`mcp-conformance-${version}`, async (folder) => {
    cpSync(wanted, folder, { recursive: true });
    await npm(folder, 'ci', '--ignore-scripts');
  });
}

/** go-spiffe as a program (tools/go/spiffe-client), built once for each version of its source. */
export async function spiffeClient() {
  const source = join(root, 'tools/go/spiffe-client');
  const hash = createHash('sha256');
  for (const name of readdirSync(source).sort()) hash.update(readFileSync(join(source, name)));
  const folder = await kept(`spiffe-client-${hash.digest('hex').slice(0, 16)}`, async (folder) => {
    const binary = join(folder, 'spiffe-client');
    await run(['go', 'build', '-C', source, '-mod=readonly', '-trimpath', '-o', binary, '.'], {
      env: { CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
    });
  });
  return join(folder, 'spiffe-client');
}

/** @type {Record<string, readonly (() => Promise<unknown>)[]>} what each suite needs */
const needs = {
  integration: [spiffeClient, schemathesis, conformanceSuite, opaProgram],
  e2e: [noteCrane, ...Object.values(agentPackages).map((agent) => () => agentPrograms(agent))],
};

/** Brings what the suites need, one after the other. What cannot be had is said, and its tests say it again. @param {string[]} suites */
export async function bringTestTools(suites) {
  for (const suite of suites)
    for (const bring of needs[suite] ?? [])
      await bring().catch((/** @type {unknown} */ error) => {
        say(`  cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
      });
}
