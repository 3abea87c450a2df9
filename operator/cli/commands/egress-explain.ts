import { stringify } from 'yaml';
import { compileSession } from '../../../pure/compile/index.ts';
import { GloveboxError, policyDocument, type PolicyDocument } from '../../../pure/contracts/index.ts';
import { explain, type CompiledRule, type Explanation } from '../../../pure/egress/index.ts';
import { parsePolicy, readYaml, type Position } from '../../../pure/policy/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';
import { readPolicy } from '../run/session-request.ts';
import { isLive, sessionHere } from '../sessions.ts';

type Options = Readonly<Record<string, unknown>>;
const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const listOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

/** A policy, and what its lines are counted in. */
interface Source {
  readonly document: PolicyDocument;
  readonly text: string;
  readonly name: string;
}

/** `secret:NAME` stands for the placeholder that the sandbox would hold. */
export const rulesOf = (
  document: PolicyDocument,
): { readonly egress: readonly CompiledRule[]; readonly placeholders: Readonly<Record<string, string>> } =>
  compileSession({ document, env: {}, authorities: {}, placeholder: (secret) => `secret:${secret}` });

export async function explainUrl(url: string | undefined, options: Options): Promise<number> {
  if (url === undefined)
    throw new GloveboxError('GB_USAGE', { detail: 'egress explain', hint: 'It needs a URL.' });
  const source = await sourceOf(textOf(options['policy']), textOf(options['session']));
  const { egress, placeholders } = rulesOf(source.document);
  const addresses = listOf(options['address']);
  const found = explain(egress, placeholders, {
    url,
    method: textOf(options['method']) ?? 'GET',
    headers: listOf(options['header']).map(headerOf),
    addresses: addresses.length === 0 ? null : addresses,
  });
  if (found === null)
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The URL ${url}`,
      detail: 'it is not https://host[:port]/path or http://host[:port]/path',
    });
  const place =
    found.ruleIndex === null ? null : { file: source.name, ...placeOf(source.text, found.ruleIndex) };
  if (options['json'] === true) printJson({ ...found, place });
  else print(words(found, place).join('\n'));
  return found.verdict === 'allow' ? 0 : refused;
}

/** Of a document that was read already. */
function placeOf(text: string, rule: number): Position {
  const read = readYaml(policyDocument, text);
  return read.ok ? read.placeOf(['egress', rule]) : { line: 1, column: 1 };
}

/** As for a refusal of the gateway's (GB_EGRESS_DENIED, GB_CONSENT_REQUIRED). */
const refused = 77;

async function sourceOf(file: string | undefined, id: string | undefined): Promise<Source> {
  if (file !== undefined && id !== undefined)
    throw new GloveboxError('GB_USAGE', {
      detail: '--policy with --session',
      hint: 'It is one of them.',
    });
  if (file !== undefined) {
    const { text } = readPolicy(file);
    return { document: parsePolicy(text, file), text, name: file };
  }
  const { client } = connect();
  const session = await sessionHere(client, id, isLive, 'that is running');
  const { document } = await client.call('getSandboxPolicy', { params: { id: session.id } });
  // The lines are those of `glovebox policy show`, whose first one is a comment.
  const text = `#\n${stringify(document)}`;
  const name = `glovebox policy show ${session.name}`;
  return { document: parsePolicy(text, name), text, name };
}

function headerOf(text: string): readonly [string, string] {
  const [, name = '', value = ''] = /^([^:\s]+):\s*(.*)$/.exec(text) ?? [];
  if (name === '')
    throw new GloveboxError('GB_USAGE', {
      detail: `--header ${text}`,
      hint: "It is 'name: value'; secret:NAME in the value stands for a placeholder.",
    });
  return [name.toLowerCase(), value];
}

function words(
  found: Explanation,
  place: { readonly file: string; readonly line: number; readonly column: number } | null,
): string[] {
  const verdicts = { allow: 'allowed', ask: 'left to a person', deny: 'denied' } as const;
  const lines = [
    `${found.method} ${found.url}: ${verdicts[found.verdict]}`,
    `  rule: ${found.rule}${place === null ? '' : ` (${place.file}, line ${place.line}, column ${place.column})`}`,
    `  why: ${found.why}`,
  ];
  if (found.credential !== null)
    lines.push(`  credential: ${found.credential.secret}, as ${found.credential.place}`);
  if (found.scope !== null) lines.push(`  the question: ${found.scope}`);
  for (const more of found.further) lines.push(`  decided with the request: ${more}`);
  if (found.todo !== null) lines.push(`  the agent is told: ${found.todo}`);
  if (found.alert) lines.push('  it would be recorded as a sign of an attack');
  if (found.verdict !== 'deny')
    lines.push(
      `  recorded: ${found.audited ? 'before it goes out' : 'when it is over, since it has no effect and no credential'}`,
    );
  return lines.map((line) => escapeUntrusted(line, 1000));
}
