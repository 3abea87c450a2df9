import type { CommandEntry } from './command-table.ts';

export const tokenCommand: CommandEntry = {
  usage: 'token <what> [name]',
  description:
    'create, list or revoke API tokens: for programs, for some operations and a time; none can grant',
  options: [
    ['--scope <scope>', 'create: read, run or manage', 'many'],
    ['--expires <duration>', 'create: how long it is good, such as 12h or 30d (default: 30d)'],
  ],
  examples: [
    'glovebox token create ci --scope read --scope run --expires 7d',
    'GLOVEBOX_TOKEN=gbt_… glovebox ps',
    'glovebox token revoke 4fgh2',
  ],
  run: async ([what = '', name], options) => (await import('./commands/token.ts')).token(what, name, options),
};
