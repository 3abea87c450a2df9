import { errorCatalogue, endExitCodes } from '../../../pure/contracts/index.ts';
import type { CommandEntry } from '../command-table.ts';
import { everyOption } from '../command-words.ts';

/** For roff: a backslash, a dash, and a line that begins with a control character mean something of their own. */
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(
      /[^\x20-\x7e\n]/gu,
      (sign) => `\\[u${sign.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`,
    )
    .replaceAll(/^([.'])/gm, '\\&$1');

/** `man glovebox`, made of the commands’ own words, so that it cannot say anything else than --help. */
export function manualPage(commands: readonly CommandEntry[], version: string): string {
  const codes = new Map<number, string>();
  for (const [code, { exit }] of Object.entries(errorCatalogue))
    codes.set(exit, [codes.get(exit), code].filter((word) => word !== undefined).join(', '));
  return [
    `.TH GLOVEBOX 1 "" "glovebox ${version}" "User Commands"`,
    '.SH NAME',
    'glovebox \\- run any AI agent as untrusted code',
    '.SH SYNOPSIS',
    '.B glovebox\n.I command\n.RI [ options ]',
    '.SH DESCRIPTION',
    'Runs any AI agent as untrusted code: in a gVisor sandbox, behind a gateway of its own.',
    '.SH COMMANDS',
    ...commands.flatMap((entry) => [
      `.SS ${roff(entry.usage)}`,
      `${roff(entry.description)}.`,
      ...everyOption(entry).flatMap(([flags, description]) => [
        '.TP',
        `.B ${roff(flags)}`,
        roff(description),
      ]),
      '.PP\nExample:\n.nf',
      ...entry.examples.map((line) => `    ${roff(line)}`),
      '.fi',
    ]),
    '.SH EXIT STATUS',
    'That of the command that ran; 128 and the number of the signal that ended it; else:',
    ...Object.entries(endExitCodes).flatMap(([reason, code]) =>
      code === null ? [] : ['.TP', `.B ${code}`, roff(`the session ended: ${reason}`)],
    ),
    ...[...codes]
      .sort(([one], [other]) => one - other)
      .flatMap(([code, names]) => ['.TP', `.B ${code}`, roff(names)]),
    '.SH FILES',
    'State: $XDG_STATE_HOME/glovebox. Configuration: $XDG_CONFIG_HOME/glovebox. Tools: $XDG_CACHE_HOME/glovebox.',
    '',
  ].join('\n');
}
