import type { CommandEntry } from './command-table.ts';

export const commandName = ({ usage }: CommandEntry): string => usage.split(' ')[0] ?? '';

/** Its own options and those of every command. */
export const everyOption = (entry: CommandEntry): readonly (readonly [string, string])[] => [
  ...entry.options.map(([flags, description]) => [flags, description] as const),
  ['--json', 'for machines: JSON instead of text, errors too'],
  ['-h, --help', 'show help'],
];
