import { toolDefinitions, toolName } from '../pure/contracts/index.ts';
import { wordsOfScope } from '../pure/policy/index.ts';

const code = (text: string): string => `\`${text}\``;
const examples = [
  'files:read:/shared/a.md',
  'files:read:/shared/*',
  'files:read:/shared/**',
  'files:write:/shared/**/*.md',
  'files:*:/shared/a.md',
  'files:read',
  'files:read:/',
];

/** docs/scopes.md: the tree of scopes, made from the tools' own definitions [R35]. */
export function scopesDocument(): string {
  const verbs = [...new Set(toolDefinitions.map((tool) => `${tool.domain}:${tool.scopeVerb}`))];
  const rows = verbs.map((scope) => {
    const tools = toolDefinitions.filter((tool) => `${tool.domain}:${tool.scopeVerb}` === scope);
    return `| ${code(`${scope}:/PATH`)} | ${tools.map((tool) => code(toolName(tool))).join(' ')} |`;
  });
  return [
    '# Scopes',
    '',
    'A scope names one thing that an agent may do: `domain:verb:/path`. Policies, questions, grants and the audit trail all speak',
    'of scopes. Made from `pure/contracts/tools.ts` by `npm run docs`; a test compares the two.',
    '',
    '| scope | what needs it |',
    '| --- | --- |',
    ...rows,
    '| `egress:METHOD:/HOST[:PORT]/PATH` | a request by the egress proxy whose rule says `decision: ask`; the method in lower case, the port where it is not 443 |',
    '',
    '## Patterns',
    '',
    'A policy, and a question that says so to the person, may use a pattern:',
    '',
    '| pattern | takes in |',
    '| --- | --- |',
    ...examples.map((scope) => `| ${code(scope)} | ${wordsOfScope(scope)} |`),
    '',
    '- `*` in a segment is any characters of that one segment; `**`, once, is any number of segments, none too.',
    '- `*` in place of the verb is any verb of the domain. Without a path, every path.',
    '- A name that has `*` or `%` in it is written `%2A` and `%25`: no file’s name is ever read as a pattern.',
    '',
    '## What matches what',
    '',
    '- Without a wildcard a scope is itself, character by character: not what lies below it, not its parent, not another verb,',
    '  not another spelling (`..`, a second slash, another case, a path that is not normalised is no scope at all).',
    '- **A wider scope is never implied by a narrower one.** Whoever was granted `files:read:/shared/a` has to ask again for',
    '  `files:read:/shared/**`, and the person sees the wider one as it is.',
    '- A grant is for one session, one person and one scope. In another person’s turn it does nothing.',
    '- A grant for once is for the arguments that were shown, where any were, and is used up by the first call that uses it.',
    '',
    'Properties in `pure/policy/scopes.test.ts` hold this for any pattern and any scope.',
    '',
  ].join('\n');
}
