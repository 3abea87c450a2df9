import { limits, policyDocument, presetDocument, type PolicyDocument } from '../contracts/index.ts';
import { compileSession } from '../compile/index.ts';
import { parseDuration, readYaml, type PlaceOf, type Problem } from '../policy/index.ts';
import { looksLikeKey } from '../secrets/index.ts';
import { error, warning, type Finding, type Remark } from './finding.ts';
import { lintEgress } from './lint-egress.ts';
import { lintTools } from './lint-tools.ts';

export interface PolicySource {
  readonly document: PolicyDocument;
  readonly placeOf: PlaceOf;
}

/** A policy document, or a preset, whose policy is looked at in its place. */
export function readPolicySource(
  text: string,
):
  | { readonly ok: true; readonly source: PolicySource }
  | { readonly ok: false; readonly problems: readonly [Problem, ...Problem[]] } {
  if (/^policy:/m.test(text) && /^command:/m.test(text)) {
    const preset = readYaml(presetDocument, text);
    if (!preset.ok) return preset;
    const { value, placeOf } = preset;
    return { ok: true, source: { document: value.policy, placeOf: (path) => placeOf(['policy', ...path]) } };
  }
  const read = readYaml(policyDocument, text);
  return read.ok ? { ok: true, source: { document: read.value, placeOf: read.placeOf } } : read;
}

/** Rules as the sidecar has them, with stand-ins for what only a start makes. */
export const compiledForReview = (document: PolicyDocument): ReturnType<typeof compileSession> =>
  compileSession({ document, env: {}, authorities: {}, placeholder: (secret) => `placeholder-of-${secret}` });

/** Everything that is wrong or looks wrong, in the order of the document. Empty: nothing. */
export function lintPolicy(text: string): readonly Finding[] {
  const read = readPolicySource(text);
  if (!read.ok)
    return inOrder(
      read.problems.map(({ line, column, detail, todo }) => ({
        severity: 'error',
        rule: detail.startsWith('unknown key') ? 'unknown-key' : 'invalid',
        line,
        column,
        what: detail,
        todo,
      })),
    );
  const { document, placeOf } = read.source;
  const remarks = [
    ...lintTools(document.tools),
    ...lintEgress(compiledForReview(document).egress, document.egress),
    ...lintEnvironment(document),
    ...lintRest(document),
  ];
  return inOrder(remarks.map(({ path, ...rest }) => ({ ...rest, ...placeOf(path) })));
}

const inOrder = (found: readonly Finding[]): readonly Finding[] =>
  found.toSorted((a, b) => a.line - b.line || a.column - b.column);

function lintEnvironment(document: PolicyDocument): readonly Remark[] {
  const used = new Set(document.egress.flatMap(({ credential }) => credential?.secret ?? []));
  return Object.entries(document.env).flatMap(([name, value]) => {
    const path = ['env', name];
    if (typeof value !== 'string') {
      if (used.has(value.placeholder)) return [];
      const what = `no egress rule has the credential ${value.placeholder}: its placeholder is never replaced`;
      return [warning('credential-without-host', path, what, 'Add the credential to the rule of its host.')];
    }
    const key = looksLikeKey(name, value);
    return key === null
      ? []
      : [
          error(
            'secret-in-policy',
            path,
            `${name} holds ${key}, which the agent would read`,
            'Use { placeholder: NAME } and `glovebox secret set NAME`.',
          ),
        ];
  });
}

function lintRest(document: PolicyDocument): readonly Remark[] {
  const found: Remark[] = [];
  if ((parseDuration(document.ttl) ?? 0) * 1000 > limits.sessionLifetime.value)
    found.push(
      error(
        'ttl-too-long',
        ['ttl'],
        `a session lasts at most ${limits.sessionLifetime.value / 86_400_000} days`,
        'Write a shorter ttl.',
      ),
    );
  for (const [index, glob] of document.workspace.show.entries())
    if (/^[*./]*$/.test(glob))
      found.push(
        warning(
          'wide-show',
          ['workspace', 'show', index],
          `${glob} shows every credential file of the workspace`,
          'Name the files.',
        ),
      );
  return found;
}
