import { Command, CommanderError, Option } from 'commander';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { commands, type CommandEntry } from './command-table.ts';

/** Reads the arguments and runs the command they name; its exit code. Each command is loaded only when it is run. */
export async function parseArguments(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command('glovebox')
    .description('Runs any AI agent as untrusted code: in a gVisor sandbox, behind a gateway of its own.')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .exitOverride()
    .addHelpText('after', '\nThe main job, in a project’s folder:\n  glovebox run -- bash\n');
  program.option('-V, --version', 'show the version');
  // The others' options are not built for a command that is run: people wait for this.
  const named = commands.filter(({ usage }) => usage.split(' ')[0] === argv[0]);
  for (const entry of named.length > 0 ? named : commands) {
    const command = program.command(entry.usage).description(entry.description).exitOverride();
    for (const given of entry.options) command.addOption(option(given));
    command.addOption(new Option('--json', 'for machines: JSON instead of text, errors too'));
    command.addHelpText('after', `\nExample:\n${entry.examples.map((line) => `  ${line}\n`).join('')}`);
    if (entry.passThrough === true) command.passThroughOptions();
    command.action(async (...given: unknown[]) => {
      const words = given
        .slice(0, -2)
        .flat()
        .filter((word) => word !== undefined) as string[];
      exitCode = await entry.run(words, given.at(-2) as Record<string, unknown>);
    });
  }
  try {
    if (argv.length === 0) program.outputHelp();
    else
      await program.parseAsync(argv[0] === '-V' || argv[0] === '--version' ? ['version'] : argv, {
        from: 'user',
      });
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error);
    throw error;
  }
  return exitCode;
}

/** An option that may be given several times gathers its values. */
function option([flags, description, many]: CommandEntry['options'][number]): Option {
  const made = new Option(flags, description);
  if (many === undefined) return made;
  return made.argParser((value: string, before?: readonly string[]) => [...(before ?? []), value]);
}

function commanderExit(error: CommanderError): number {
  if (error.exitCode === 0) return 0;
  const [first = '', ...rest] = error.message
    .replace(/^error: /, '')
    .replace(/\.$/m, '')
    .split('\n');
  throw new GloveboxError('GB_USAGE', {
    detail: first,
    hint: rest.join(' ').trim() || 'It is one of its options or arguments.',
  });
}
