import { stringify } from 'yaml';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { suggest, type SuggestedRule, type Suggestion } from '../../../pure/egress/index.ts';
import { parsePolicy } from '../../../pure/policy/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';
import { requestsOf } from '../egress-records.ts';
import { note, print, printJson } from '../output.ts';
import { sessionHere } from '../sessions.ts';
import { readGuardedLine } from '../terminal/guarded-line.ts';
import { personParts } from '../terminal/question-parts.ts';
import { rulesOf } from './egress-explain.ts';

/** Rules from what was refused. Nothing is changed unless a person says so after reading them. */
export async function suggestRules(
  id: string | undefined,
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, () => true, 'that was ever run');
  const params = { id: session.id };
  const { document, generation } = await client.call('getSandboxPolicy', { params });
  const policy = parsePolicy(stringify(document), session.name);
  const seen = await requestsOf(client, session.id, { after: 0 });
  const refused = seen.filter(({ decision }) => decision === 'deny');
  const found = suggest(rulesOf(policy).egress, refused, limits.egressSuggested.value);
  const json = options['json'] === true;
  const apply = options['apply'] === true && found.rules.length > 0;
  if (!apply) {
    if (json) printJson(found);
    else show(found);
    return 0;
  }
  if (!json) show(found);
  if (options['yes'] !== true) await agreed(session.name, found.rules.length);
  const now = await client.call('getSandboxPolicyStatus', { params });
  if (now.generation !== generation)
    throw new GloveboxError('GB_SESSION_STATE', {
      state: `at generation ${now.generation} of its policy`,
      operation: 'adding these rules',
      needed: `at generation ${generation}, for which they were made`,
    });
  const text = stringify({ ...document, egress: [...policy.egress, ...found.rules] });
  const status = await client.call('updateSandboxPolicy', {
    params,
    body: { text, file: `glovebox egress suggest ${session.name}` },
  });
  if (json) printJson({ ...found, applied: status });
  else note(`${found.rules.length} rules were added: policy generation ${status.generation}`);
  return 0;
}

function show({ rules, left }: Suggestion): void {
  if (rules.length === 0) print('# Nothing was refused that a rule would let through.');
  else print(rulesText(rules));
  for (const { method, url, why } of left)
    print(`# left: ${escapeUntrusted(`${method} ${url}`, 200)}: ${escapeUntrusted(why, 200)}`);
}

/** YAML for the policy file. Hosts and paths are an agent's words: each line is escaped as well as quoted. */
export const rulesText = (rules: readonly SuggestedRule[]): string =>
  stringify({ egress: rules }, { lineWidth: 0 })
    .trimEnd()
    .split('\n')
    .map((line) => escapeUntrusted(line, 1000))
    .join('\n');

async function agreed(name: string, count: number): Promise<void> {
  const parts = personParts('add --yes');
  parts.write(`Add these ${count} rules to the policy of ${escapeUntrusted(name, 40)}? Write yes: `);
  const answer = await readGuardedLine(parts, parts.gone);
  parts.restore();
  if (answer.kind !== 'entered' || answer.text !== 'yes')
    throw new GloveboxError('GB_USAGE', {
      detail: 'nothing was added',
      hint: 'Write yes in full, or add --yes.',
    });
}
