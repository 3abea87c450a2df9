import { GloveboxError } from '../../../pure/contracts/index.ts';
import type { CommandEntry } from '../command-table.ts';
import { commandName, everyOption } from '../command-words.ts';

const nameOf = commandName;
const flagsOf = (entry: CommandEntry): string[] =>
  everyOption(entry).flatMap(([flags]) => flags.match(/--[a-z-]+/g) ?? []);
const takesSession = (entry: CommandEntry): boolean => /[<[]sessions?[.\]>]/.test(entry.usage);

const bash = (commands: readonly CommandEntry[]): string => `_glovebox() {
  local word=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(nameOf).join(' ')}" -- "$word"))
    return
  fi
  case $command in
${commands
  .map((entry) => {
    const names = takesSession(entry) ? " $(glovebox ps --all 2>/dev/null | awk 'NR>1{print $1}')" : '';
    return `    ${nameOf(entry)}) COMPREPLY=($(compgen -W "${flagsOf(entry).join(' ')}${names}" -- "$word")) ;;`;
  })
  .join('\n')}
  esac
}
complete -o default -F _glovebox glovebox
`;

const zsh = (commands: readonly CommandEntry[]): string =>
  `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;

const fish = (commands: readonly CommandEntry[]): string =>
  commands
    .flatMap((entry) => {
      const name = nameOf(entry);
      const description = entry.description.replaceAll(/['\\]/g, '');
      return [
        `complete -c glovebox -n __fish_use_subcommand -f -a ${name} -d '${description}'`,
        ...flagsOf(entry).map(
          (flag) => `complete -c glovebox -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)}`,
        ),
      ];
    })
    .map((line) => `${line}\n`)
    .join('');

const scripts = { bash, zsh, fish };

export const completionScript = (shell: keyof typeof scripts, commands: readonly CommandEntry[]): string =>
  scripts[shell](commands);

export async function completion(shell: string, commands: readonly CommandEntry[]): Promise<number> {
  if (shell !== 'bash' && shell !== 'zsh' && shell !== 'fish')
    throw new GloveboxError('GB_USAGE', { detail: `completion ${shell}`, hint: 'It is bash, zsh or fish.' });
  process.stdout.write(completionScript(shell, commands));
  return 0;
}
