import { commands, type CommandEntry } from '../operator/cli/command-table.ts';
import { everyOption } from '../operator/cli/command-words.ts';
import { endExitCodes, errorCatalogue } from '../pure/contracts/index.ts';

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

function commandSection(entry: CommandEntry): readonly string[] {
  return [
    `## \`glovebox ${entry.usage}\``,
    '',
    `${entry.description.charAt(0).toUpperCase()}${cell(entry.description.slice(1))}.`,
    '',
    '| option | what it does |',
    '| --- | --- |',
    ...everyOption(entry).map(([flags, description]) => `| ${code(flags)} | ${cell(description)} |`),
    '',
    '```sh',
    ...entry.examples,
    '```',
    '',
  ];
}

/** docs/cli.md, made from the table of commands, the ends of a session and the catalogue of errors. */
export function cliDocument(): string {
  const exits = new Map<number, string[]>();
  for (const [reason, exit] of Object.entries(endExitCodes))
    if (exit !== null) exits.set(exit, [...(exits.get(exit) ?? []), `the session ended: ${reason}`]);
  for (const [name, { exit }] of Object.entries(errorCatalogue))
    exits.set(exit, [...(exits.get(exit) ?? []), code(name)]);
  return [
    '# Commands, options, exit codes',
    '',
    'Made from the commands themselves by `npm run docs`; a test compares the two. `glovebox help COMMAND` says the same.',
    '',
    'With `--json` a command writes one JSON value to stdout, and an error as `{"error": {code, what, why, todo}}` to stderr;',
    'for `run` it stands before the agent’s command.',
    '',
    ...commands.flatMap(commandSection),
    '## Exit codes',
    '',
    'A session that ends by itself gives its command’s own code, or 128 and the number of the signal. Else:',
    '',
    '| code | when |',
    '| --- | --- |',
    ...[...exits]
      .sort(([one], [other]) => one - other)
      .map(([exit, when]) => `| ${exit} | ${when.join(', ')} |`),
    '',
  ].join('\n');
}
