import { dirname, relative, resolve } from 'node:path';
import { GloveboxError, toolDefinitions, toolName } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import {
  explain,
  lintPolicy,
  readCases,
  readPolicySource,
  runCases,
  type Attempt,
  type CaseOutcome,
  type Explanation,
  type Finding,
  type PolicySource,
} from '../../../pure/review/index.ts';
import { note, print, printJson, styles } from '../output.ts';
import { readPolicy } from '../run/session-request.ts';

/** A line of a file's own words: whoever wrote the file does not steer this terminal. */
const line = (text: string): string => escapeUntrusted(text, 2000);

/** 65, as any policy that is refused, where there are errors (with `strict`, warnings too); else 0. */
export function lint(file: string, strict: boolean, json: boolean): number {
  const findings = lintPolicy(readPolicy(file).text);
  if (json) printJson({ file, findings });
  else if (findings.length === 0) print(`${line(file)}: nothing to remark`);
  else for (const finding of findings) print(findingText(file, finding));
  return findings.some(({ severity }) => strict || severity === 'error') ? 65 : 0;
}

function findingText(file: string, { severity, rule, line: at, column, what, todo }: Finding): string {
  const { red, yellow, dim } = styles(process.stdout);
  const word = severity === 'error' ? red('error') : yellow('warning');
  return `${line(file)}:${at}:${column}: ${word} ${line(what)} ${dim(`[${rule}]`)}\n  ${line(todo)}`;
}

/** What would be decided of one attempt; the exit code says nothing of the decision, `policy test` does. */
export function explainCommand(
  file: string,
  words: readonly string[],
  headers: readonly string[],
  json: boolean,
): number {
  const source = sourceOf(file);
  const explained = explain(source, attemptOf(words, headers));
  if (!explained.ok)
    throw new GloveboxError('GB_INPUT_INVALID', { what: 'The operation', detail: explained.why });
  const { explanation } = explained;
  if (json) printJson({ file, ...explanation });
  else print(explanationText(file, explanation));
  return 0;
}

function explanationText(file: string, { decision, rule, place, scope, why, notes }: Explanation): string {
  const { green, yellow, red, bold } = styles(process.stdout);
  const colour = { allow: green, ask: yellow, deny: red }[decision];
  const where = place === null ? '' : ` at ${line(file)}:${place.line}:${place.column}`;
  return [
    `${bold(colour(decision))} by ${rule}${where}`,
    `  ${line(why)}`,
    ...(scope === null ? [] : [`  scope: ${line(scope)}`]),
    ...notes.map((text) => `  ${line(text)}`),
  ].join('\n');
}

/** 0 where every case is decided as expected, else 1. */
export function testCommand(file: string, policy: string | undefined, json: boolean): number {
  const read = readCases(readPolicy(file).text);
  if (!read.ok) throw new GloveboxError('GB_POLICY_INVALID', { file, ...read.problems[0] });
  const named = policy ?? (read.policy === null ? undefined : resolve(dirname(file), read.policy));
  if (named === undefined)
    throw new GloveboxError('GB_USAGE', {
      detail: 'policy test without a policy',
      hint: 'Name it in the file (policy: policy.yaml), or with --policy FILE.',
    });
  const outcomes = runCases(sourceOf(named), read.cases, read.placeOf);
  const failed = outcomes.filter(({ ok }) => !ok);
  if (json) printJson({ file, policy: named, passed: outcomes.length - failed.length, outcomes });
  else {
    for (const outcome of failed) print(outcomeText(file, named, outcome));
    note(`${outcomes.length - failed.length} of ${outcomes.length} cases are decided as expected`);
  }
  return failed.length === 0 ? 0 : 1;
}

function outcomeText(file: string, policy: string, outcome: CaseOutcome): string {
  const { red, green, bold } = styles(process.stdout);
  const { expected, decided } = outcome;
  const by = (rule: string | null): string => (rule === null ? '' : ` by ${rule}`);
  const place = decided?.place ?? null;
  return [
    bold(`${line(file)}:${outcome.line}:${outcome.column}: ${line(outcome.name)}`),
    green(`  + expected ${expected.decision}${line(by(expected.rule))}`),
    ...(decided === null
      ? [red('  - not a case that can be decided')]
      : [
          red(
            `  - decided  ${decided.decision} by ${decided.rule}${place === null ? '' : ` at ${line(relative('.', policy))}:${place.line}:${place.column}`}`,
          ),
        ]),
    `    ${line(outcome.why)}`,
    ...(decided?.notes ?? []).map((text) => `    ${line(text)}`),
  ].join('\n');
}

function sourceOf(file: string): PolicySource {
  const read = readPolicySource(readPolicy(file).text);
  if (!read.ok) throw new GloveboxError('GB_POLICY_INVALID', { file, ...read.problems[0] });
  return read.source;
}

function attemptOf(words: readonly string[], headers: readonly string[]): Attempt {
  const [first = '', ...rest] = words;
  if (/^[A-Z]{3,10}$/.test(first) && rest.length === 1)
    return { kind: 'request', method: first, url: rest[0] ?? '', headers: headers.map(headerOf) };
  if (first.includes(':') && rest.length === 0) return { kind: 'permission', scope: first };
  if (/^[a-z][a-z_-]*$/.test(first)) return { kind: 'call', tool: first, args: argumentsOf(rest) };
  throw new GloveboxError('GB_USAGE', {
    detail: 'policy explain without an operation',
    hint: `It is a tool (${toolDefinitions.map(toolName).join(', ')}) with path=/a, METHOD https://host/path, or a scope.`,
  });
}

function headerOf(text: string): readonly [string, string] {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new GloveboxError('GB_INPUT_INVALID', { what: 'The header', detail: 'it is written NAME: VALUE' });
  return [name, value];
}

/** `path=/a text=b`, or one JSON object. */
function argumentsOf(words: readonly string[]): Readonly<Record<string, unknown>> {
  const invalid = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: 'The arguments', detail });
  const [only] = words;
  if (words.length === 1 && only?.startsWith('{') === true) {
    try {
      return JSON.parse(only) as Record<string, unknown>;
    } catch {
      throw invalid('they are no JSON object');
    }
  }
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at < 1) throw invalid(`"${word}" is not written name=value`);
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}
