// `npm test`: sets the checkout up, then every check and every suite that needs no cluster.
// `npm test -- lint unit` runs those parts only.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setUp } from './setup.mjs';
import { onPath, run } from './setup/command.mjs';
import { root } from './setup/paths.mjs';
import { say, sayError } from './setup/say.mjs';
import { goTest, vitest } from './checks/suites.mjs';
import { bringTestTools } from './checks/test-tools.mjs';
import { checkWords } from './checks/words.mjs';

/** @typedef {import('./checks/suites.mjs').Result} Result */

const rooms = ['pure', 'trusted', 'untrusted', 'operator', 'test', 'tools', 'bench', 'examples'];

/** A check that is a program of a package: passed if it ends with 0. @param {string} script @param {string[]} args */
const program = (script, ...args) => command(process.execPath, join(root, 'node_modules', script), ...args);

/** @param {string[]} argv @returns {() => Promise<Result>} */
const command =
  (...argv) =>
  async () => {
    const { ok, output } = await run(argv, { cwd: root, expect: false });
    if (!ok) process.stderr.write(`${output.trimEnd()}\n`);
    return ok ? passed : { passed: 0, failed: 1, notes: [] };
  };

/** @type {Result} */
const passed = { passed: 1, failed: 0, notes: [] };

/** @returns {Promise<Result>} */
async function words() {
  const found = checkWords();
  return found.length === 0 ? passed : { passed: 0, failed: 1, notes: found };
}

/** @returns {Promise<Result>} */
async function goVet() {
  const { ok, output } = await run([onPath('go') ?? 'go', 'vet', './...'], {
    cwd: join(root, 'untrusted/init'),
    expect: false,
  });
  return ok ? passed : { passed: 0, failed: 1, notes: [output] };
}

/** @type {Record<string, () => Promise<Result>>} */
const parts = {
  format: program('prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'),
  lint: program('eslint/bin/eslint.js', '--max-warnings', '0', '.'),
  imports: program(
    'dependency-cruiser/bin/dependency-cruise.mjs',
    '--config',
    '.dependency-cruiser.mjs',
    ...rooms,
  ),
  types: program('typescript/bin/tsc', '-b', 'tsconfig.build.json'),
  requirements: command(process.execPath, join(root, 'tools/requirements.mjs')),
  dependencies: command(process.execPath, join(root, 'tools/checks/dependencies.mjs')),
  words,
  'go-vet': goVet,
  'go-test': goTest,
  unit: () => vitest('unit'),
  integration: () => vitest('integration'),
  adversarial: () => vitest('adversarial'),
  e2e: () => vitest('e2e'),
};

/** @param {string[]} chosen */
async function main(chosen) {
  const unknown = chosen.filter((name) => !(name in parts));
  if (unknown.length > 0) {
    say(`no such part: ${unknown.join(', ')}. There are: ${Object.keys(parts).join(', ')}`);
    return 1;
  }
  await setUp();
  await bringTestTools(chosen.length > 0 ? chosen : Object.keys(parts));
  /** @type {Result} */
  const total = { passed: 0, failed: 0, notes: [] };
  for (const [name, part] of Object.entries(parts)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    if (name.startsWith('go-') && !existsSync(join(root, 'untrusted/init/go.mod'))) continue;
    const began = Date.now();
    const result = await part();
    total.passed += result.passed;
    total.failed += result.failed;
    total.notes.push(...result.notes.map((note) => `${name}: ${note}`));
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    say(`${name}: ${result.passed} passed, ${result.failed} failed (${seconds} s)`);
  }
  if (total.notes.length > 0) console.log(total.notes.join('\n'));
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  sayError(error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
}
