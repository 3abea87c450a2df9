// Lists each requirement of docs/requirements.md with the tests that carry its number in their names.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { repositoryFiles, textOf } from './checks/files.mjs';
import { root } from './setup/paths.mjs';

const testCall =
  /\b(?:it|test|describe|suite|t\.Run)(?:\.\w+(?:\([^()]*\))?)*\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g;

/** The names of the tests in a source text. @param {string} source */
export function testNames(source) {
  return [...source.matchAll(testCall)].map((found) => found[2] ?? '');
}

/** The requirements that a test's name carries: `[R8]`, `[R8][R9]` or `[R8, R9]`. @param {string} name */
export function numbersIn(name) {
  return [...name.matchAll(/\[(R\d+(?:\s*,\s*R\d+)*)\]/g)].flatMap((found) =>
    [...(found[1] ?? '').matchAll(/R(\d+)/g)].map((number) => Number(number[1])),
  );
}

/** @param {string} document @returns {Map<number, string>} number to title */
export function titles(document) {
  return new Map(
    [...document.matchAll(/^- \*\*R(\d+)\*\* (.+)$/gm)].map((found) => [Number(found[1]), found[2] ?? '']),
  );
}

/** @returns {{ lines: string[], problems: string[] }} */
export function requirements() {
  const known = titles(readFileSync(join(root, 'docs/requirements.md'), 'utf8'));
  /** @type {Map<number, string[]>} */
  const shown = new Map();
  /** @type {string[]} */
  const problems = [];
  for (const path of repositoryFiles().filter((file) => /(\.test\.ts|_test\.go)$/.test(file))) {
    for (const name of testNames(textOf(path) ?? '')) {
      for (const number of numbersIn(name)) {
        if (!known.has(number)) problems.push(`${path}: "${name}" names R${number}, which does not exist`);
        shown.set(number, [...(shown.get(number) ?? []), `${path}: ${name}`]);
      }
    }
  }
  const lines = [...known].flatMap(([number, title]) => {
    const tests = shown.get(number) ?? [];
    const mark = tests.length === 0 ? '  (no test yet)' : '';
    return [`R${number} ${title}${mark}`, ...tests.map((test) => `    ${test}`)];
  });
  const without = [...known.keys()].filter((number) => !shown.has(number));
  lines.push(
    `${known.size - without.length} of ${known.size} requirements have a test`,
    ...(without.length === 0 ? [] : [`without: ${without.map((number) => `R${number}`).join(' ')}`]),
  );
  return { lines, problems };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { lines, problems } = requirements();
  console.log([...lines, ...problems].join('\n'));
  if (problems.length > 0) process.exitCode = 1;
}
