import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { onPath, run } from '../setup/command.mjs';
import { root, scratch } from '../setup/paths.mjs';

/** @typedef {{ passed: number, failed: number, notes: string[] }} Result what failed or was skipped is in the notes */

/** @param {string} file @param {string} name @param {boolean} ended whether the process ended with 0 @returns {Result} */
export function readVitest(file, name, ended) {
  /** @type {Result} */
  const result = { passed: 0, failed: 0, notes: [] };
  if (!existsSync(file)) return { passed: 0, failed: 1, notes: [`${name}: vitest wrote no result`] };
  const report = JSON.parse(readFileSync(file, 'utf8'));
  for (const { name: path, status, message, assertionResults } of report.testResults) {
    const place = relative(root, path);
    for (const { status: state, fullName } of assertionResults) {
      if (state === 'passed') result.passed += 1;
      else if (state === 'failed') {
        result.failed += 1;
        result.notes.push(`failed: ${place}: ${fullName}`);
      } else result.notes.push(`skipped: ${place}: ${fullName}`);
    }
    // A file that cannot be loaded has no tests that could fail.
    const counted = assertionResults.some((/** @type {{ status: string }} */ one) => one.status === 'failed');
    if (status === 'failed' && !counted) {
      result.failed += 1;
      result.notes.push(`failed: ${place}: ${String(message).split('\n')[0]}`);
    }
  }
  // A suite that finds no test at all looks in the wrong place.
  if (report.testResults.length === 0)
    return { passed: 0, failed: 1, notes: [`failed: ${name}: no tests found`] };
  // An error outside every test (an unhandled rejection) fails the run without failing a test.
  if (!ended && result.failed === 0) {
    result.failed = 1;
    result.notes.push(`failed: ${name}: an error outside the tests`);
  }
  return result;
}

/** @param {string} name @returns {Promise<Result>} */
export async function vitest(name) {
  const file = join(scratch, 'results', `${name}.json`);
  mkdirSync(join(scratch, 'results'), { recursive: true });
  rmSync(file, { force: true });
  const program = join(root, 'node_modules/vitest/vitest.mjs');
  const { ok } = await run(
    [
      process.execPath,
      program,
      'run',
      '--project',
      name,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ],
    { cwd: root, show: true, expect: false },
  );
  return readVitest(file, name, ok);
}

/** @param {string} output lines of `go test -json` @param {boolean} ended @returns {Result} */
export function readGo(output, ended) {
  /** @type {Result} */
  const result = { passed: 0, failed: 0, notes: [] };
  for (const line of output.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { Action: action, Test: test, Package: place } = JSON.parse(line);
    if (test === undefined) continue;
    if (action === 'pass') result.passed += 1;
    if (action === 'skip') result.notes.push(`skipped: ${place}: ${test}`);
    if (action !== 'fail') continue;
    result.failed += 1;
    result.notes.push(`failed: ${place}: ${test}`);
  }
  if (!ended && result.failed === 0) return { ...result, failed: 1, notes: [output.slice(-4000)] };
  return result;
}

/** @returns {Promise<Result>} */
export async function goTest() {
  const go = onPath('go') ?? 'go';
  const { ok, output } = await run([go, 'test', '-json', './...'], {
    cwd: join(root, 'untrusted/init'),
    env: { GOWORK: 'off', GOFLAGS: '' },
    expect: false,
  });
  const result = readGo(output, ok);
  if (!ok) process.stderr.write(`${goOutput(output)}\n`);
  return result;
}

/** @param {string} output */
function goOutput(output) {
  return output
    .split('\n')
    .map((line) => (line.startsWith('{') ? (JSON.parse(line).Output ?? '') : `${line}\n`))
    .join('');
}
