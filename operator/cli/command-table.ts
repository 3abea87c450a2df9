import { tokenCommand } from './token-command.ts';

export interface CommandEntry {
  /** commander's form: the name and its arguments. */
  readonly usage: string;
  readonly description: string;
  /** Flags and description; `many` may be given several times. */
  readonly options: readonly (readonly [string, string, 'many'?])[];
  readonly examples: readonly string[];
  /** Everything from the first word on is the agent's command. */
  readonly passThrough?: boolean;
  readonly run: (words: readonly string[], options: Record<string, unknown>) => Promise<number>;
}

const flag = (value: unknown): boolean => value === true;

/** Every command of the program, in the order of its help. */
export const commands: readonly CommandEntry[] = [
  {
    usage: 'run [command...]',
    description: 'run a command in a sandbox of its own, behind its own gateway',
    options: [
      ['--policy <file>', 'the policy document (default: no network, shared folders by consent)'],
      ['--preset <name>', 'a preset; a command that is a preset’s program selects it by itself'],
      [
        '--image <ref>',
        'the root file system: an image, such as debian:12 or NAME@sha256:…, not the host’s programs',
      ],
      ['--tier <name>', 'starter, standard, pro or enterprise'],
      ['--ttl <duration>', 'how long the session may last, such as 30m or 8h'],
      ['-i, --interactive', 'send what is typed to the command also where it has no terminal'],
      ['-t, --tty', 'give the command a terminal also where stdin or stdout is none'],
      ['--name <name>', 'a name for the session'],
      [
        '--env <name=value>',
        'a variable; name=secret:NAME for a placeholder; refused if it looks like a key',
        'many',
      ],
      [
        '--env-plain <name=value>',
        'a variable that is put in though it looks like a key: the agent will see it',
        'many',
      ],
      ['--detach', 'do not stay: print the session’s name'],
      ['--workspace <dir>', 'the project’s folder (default: the current one)'],
    ],
    examples: [
      'glovebox run -- npm test',
      'glovebox run --image python:3.13 -- python -m pytest',
      'glovebox run claude -p "fix the failing test"',
    ],
    passThrough: true,
    run: async (words, options) => (await import('./commands/run.ts')).run(words, options),
  },
  {
    usage: 'attach <session>',
    description: 'join a running session: its output, its input (Ctrl-] d leaves it)',
    options: [],
    examples: ['glovebox attach calm-fox'],
    run: async ([id = '']) => (await import('./commands/attach.ts')).attachCommand(id),
  },
  {
    usage: 'exec <session> [command...]',
    description: 'run a further command in a session’s sandbox, in a turn of its own',
    options: [
      ['-i, --interactive', 'send what is typed to the command also where it has no terminal'],
      ['-t, --tty', 'give the command a terminal also where stdin or stdout is none'],
    ],
    examples: ['glovebox exec calm-fox -- bash', 'glovebox exec calm-fox -- git status'],
    passThrough: true,
    run: async ([id = '', first, ...rest], options) =>
      (await import('./commands/exec.ts')).exec(
        id,
        // The parser leaves it where an argument stands before it.
        first === undefined || first === '--' ? rest : [first, ...rest],
        options,
      ),
  },
  {
    usage: 'ps',
    description: 'list sessions',
    options: [['-a, --all', 'ended ones too']],
    examples: ['glovebox ps --all'],
    run: async (_, options) =>
      (await import('./commands/ps.ts')).ps(flag(options['all']), flag(options['json'])),
  },
  {
    usage: 'top',
    description: 'what the running sessions use of their tiers; q ends it',
    options: [['--once', 'once, and end']],
    examples: ['glovebox top', 'glovebox top --json'],
    run: async (_, options) =>
      (await import('./commands/top.ts')).top(flag(options['once']), flag(options['json'])),
  },
  {
    usage: 'logs <session>',
    description: 'what a session wrote',
    options: [
      ['-f, --follow', 'go on until the session ends'],
      ['--raw', 'the bytes as they are (through pipes only)'],
    ],
    examples: ['glovebox logs --follow calm-fox', 'glovebox logs --raw calm-fox > output.log'],
    run: async ([id = ''], options) =>
      (await import('./commands/logs.ts')).logs(id, {
        raw: flag(options['raw']),
        follow: flag(options['follow']),
        json: flag(options['json']),
      }),
  },
  {
    usage: 'stop <sessions...>',
    description: 'end sessions; their staged changes are kept',
    options: [],
    examples: ['glovebox stop calm-fox'],
    run: async (ids, options) => (await import('./commands/stop.ts')).stop(ids, flag(options['json'])),
  },
  {
    usage: 'diff [session]',
    description: 'show the staged changes of a session (default: the newest of this folder)',
    options: [
      ['--stat', 'only the names'],
      ['--hunks <path>', 'the hunks of one file, numbered for `apply --hunk`'],
    ],
    examples: ['glovebox diff', 'glovebox diff calm-fox | git apply --check'],
    run: async ([id], options) => (await import('./commands/changes.ts')).diff(id, options),
  },
  {
    usage: 'apply [session] [paths...]',
    description: 'bring staged changes into the workspace; files that host tools obey are asked for by name',
    options: [
      ['--path <path>', 'only what lies at or below this path', 'many'],
      ['--hunks', 'ask for each hunk of each file'],
      ['--hunk <path:numbers>', 'only these hunks of a file, without a question', 'many'],
      ['--sensitive <path>', 'apply this file that host tools obey, without a question', 'many'],
    ],
    examples: [
      'glovebox apply',
      'glovebox apply src/a.ts docs',
      'glovebox apply --hunks src/a.ts',
      'glovebox apply calm-fox --path src --sensitive package.json --hunk src/a.ts:1,3',
    ],
    run: async (words, options) => (await import('./commands/changes.ts')).apply(words, options),
  },
  {
    usage: 'discard [session] [paths...]',
    description: 'throw staged changes away, all or those at or below paths',
    options: [['--yes', 'without a question']],
    examples: ['glovebox discard calm-fox --yes', 'glovebox discard build/ --yes'],
    run: async (words, options) =>
      (await import('./commands/changes.ts')).discard(words, flag(options['yes']), flag(options['json'])),
  },
  {
    usage: 'up',
    description: 'start the control plane, if it is not running',
    options: [
      ['--store <url>', 'a fresh state: keep it in this PostgreSQL (default: SQLite in the state folder)'],
      ['--store-password-file <file>', 'with --store: the file of its password, yours alone (mode 600)'],
    ],
    examples: [
      'glovebox up',
      "glovebox up --store 'postgresql:///glovebox?host=/run/postgresql'",
      "glovebox up --store 'postgresql://gb@db.example/glovebox?sslmode=verify-full' --store-password-file ~/.gb-db",
    ],
    run: async (_, options) => (await import('./commands/up.ts')).up(options),
  },
  {
    usage: 'down',
    description: 'end the control plane and every session',
    options: [],
    examples: ['glovebox down'],
    run: async (_, options) => (await import('./commands/up.ts')).down(flag(options['json'])),
  },
  {
    usage: 'approve [question]',
    description: 'show a question of an agent’s, and allow it by the code that is shown',
    options: [
      ['--session', 'for the rest of the session (with --digest)'],
      ['--digest <digest>', 'without a terminal: the digest of the question that was read'],
    ],
    examples: ['glovebox approve', 'glovebox approve --json   # lists what is open'],
    run: async ([id], options) => (await import('./commands/consent.ts')).approve(id, options),
  },
  {
    usage: 'deny [question]',
    description: 'deny a question of an agent’s',
    options: [['--digest <digest>', 'without a terminal: the digest of the question that was read']],
    examples: ['glovebox deny'],
    run: async ([id], options) => (await import('./commands/consent.ts')).deny(id, options),
  },
  {
    usage: 'grants [what] [grant]',
    description:
      'what was granted to agents: list (default), explain, or revoke, which cuts off a call under way',
    options: [
      ['-a, --all', 'list: those that serve no more, too'],
      ['--session <session>', 'list: of one session'],
    ],
    examples: ['glovebox grants', 'glovebox grants explain 4fgh2', 'glovebox grants revoke 4fgh2'],
    run: async ([what = 'list', id], options) =>
      (await import('./commands/grants.ts')).grants(what, id, options),
  },
  {
    usage: 'audit [what] [file]',
    description: 'what happened: list (default), export, checkpoint, keys, verify [FILE] offline, or retain',
    options: [
      ['--session <session>', 'of one session'],
      ['--limit <count>', 'how many records (default 50)'],
      ['--format <name>', 'export: jsonl (default), or ocsf'],
      [
        '--keys <file>',
        'verify: the public keys, kept where this machine cannot replace them; without them it ends with 3',
      ],
      ['--checkpoint <file>', 'verify: a checkpoint that a witness kept'],
      ['--witness <file>', 'verify: the same as --checkpoint'],
      ['--older <duration>', 'retain: take away what is older, such as 90d; a signed tombstone says so'],
    ],
    examples: [
      'glovebox audit --session calm-fox',
      'glovebox audit export > audit.jsonl; glovebox audit keys > keys.json',
      'glovebox audit checkpoint > witness.jws   # give it to somebody else',
      'glovebox audit verify audit.jsonl --keys keys.json --checkpoint witness.jws',
      'glovebox audit export --format ocsf > ocsf.jsonl',
      'glovebox audit retain --older 90d',
    ],
    run: async ([what, file], options) => (await import('./commands/audit.ts')).audit(what, file, options),
  },
  {
    usage: 'policy <what> [words...]',
    description:
      'show or set a running session’s policy (default: the newest session of this folder); lint, explain or test a policy file',
    options: [
      ['--policy <file>', 'set, explain, test: the policy document'],
      ['--header <line>', 'explain: a header of the request, as NAME: VALUE', 'many'],
      ['--strict', 'lint: warnings are errors'],
    ],
    examples: [
      'glovebox policy lint policy.yaml',
      'glovebox policy explain --policy policy.yaml files_read path=/shared/notes.md',
      'glovebox policy explain --policy policy.yaml POST https://api.example.com/v1/things',
      'glovebox policy explain --policy policy.yaml files:write:/shared/notes.md   # what a person would be asked',
      'glovebox policy test policy-cases.yaml',
      'glovebox policy show calm-fox > policy.yaml',
      'glovebox policy set calm-fox --policy policy.yaml',
    ],
    run: async ([what = '', ...words], options) =>
      (await import('./commands/policy.ts')).policy(what, words, options),
  },
  {
    usage: 'egress <what> [session]',
    description:
      'requests to the outside: log of a session, explain a URL, or suggest rules for what a session was refused',
    options: [
      ['-f, --follow', 'log: go on until the session ends'],
      ['--denied', 'log: only what was not let through'],
      ['--method <name>', 'explain: the request’s method (default GET)'],
      ['--header <name: value>', 'explain: a header; secret:NAME in it stands for a placeholder', 'many'],
      ['--address <address>', 'explain: what the name would resolve to', 'many'],
      ['--policy <file>', 'explain: by this policy document'],
      ['--session <session>', 'explain: by the policy of this running session'],
      ['--apply', 'suggest: add the rules to the running session’s policy, after a question'],
      ['--yes', 'suggest --apply: without the question'],
    ],
    examples: [
      'glovebox egress log calm-fox --denied',
      'glovebox egress explain https://api.example.com/v1/items --method POST --policy policy.yaml',
      "glovebox egress explain https://api.anthropic.com/v1/messages --session calm-fox --header 'x-api-key: secret:anthropic'",
      'glovebox egress suggest calm-fox --apply',
    ],
    run: async ([what = '', target], options) =>
      (await import('./commands/egress.ts')).egress(what, target, options),
  },
  {
    usage: 'secret <what> [name]',
    description: 'set, list or rm: secrets that the gateway puts in, and the agent never sees',
    options: [
      ['--kind <kind>', 'set: text (the default), oauth, aws or github-app'],
      ['--token-endpoint <url>', 'oauth: where access tokens are asked for, https only'],
      ['--client-id <id>', 'oauth: the client’s id'],
      ['--client-auth <way>', 'oauth: how the client secret is sent: basic (the default) or post'],
      ['--scope <scope>', 'oauth: the scope to ask for (default: all that was granted)'],
      ['--access-key-id <id>', 'aws: the id of the access key'],
      ['--app-id <id>', 'github-app: the app’s id or client id'],
      ['--installation-id <id>', 'github-app: the id of the installation'],
      ['--api-url <url>', 'github-app: the API of another GitHub (default: https://api.github.com)'],
      ['--ca-file <file>', 'oauth, github-app: a private certificate authority of that host'],
      ['--private-range <cidr>', 'oauth, github-app: a private range that the host may be in', 'many'],
    ],
    examples: [
      'glovebox secret set anthropic',
      'pass anthropic | glovebox secret set anthropic',
      'glovebox secret set drive --kind oauth --token-endpoint https://oauth2.example/token --client-id 123',
      'aws configure export-credentials | glovebox secret set aws-dev --kind aws',
      'glovebox secret set bot --kind github-app --app-id 1234 --installation-id 5678 < key.pem',
      'glovebox secret list',
    ],
    run: async ([what = '', name], options) =>
      (await import('./commands/secret.ts')).secret(what, name, options),
  },
  {
    usage: 'ca <what> [who]',
    description: 'show, rotate or revoke: the CA that every part is known by; sessions go on',
    options: [
      [
        '--root',
        'rotate: a new root too; it takes the old one’s place by itself, within two certificate lifetimes',
      ],
    ],
    examples: [
      'glovebox ca show',
      'glovebox ca rotate',
      'glovebox ca rotate --root',
      'glovebox ca revoke calm-fox   # its gateway; or a SPIFFE ID',
    ],
    run: async ([what = '', who], options) =>
      (await import('./commands/ca.ts')).ca(what, who, flag(options['root']), flag(options['json'])),
  },
  {
    usage: 'metrics',
    description: 'the control plane’s numbers in Prometheus’ text format (docs/metrics.md)',
    options: [],
    examples: ['glovebox metrics > /var/lib/node-exporter/glovebox.prom'],
    run: async (_, options) => (await import('./commands/metrics.ts')).metrics(flag(options['json'])),
  },
  tokenCommand,
  {
    usage: 'doctor',
    description: 'what this host has, and which guarantees hold on it',
    options: [
      ['--waive <name>', 'do without apparmor or cgroup-limits, which this host lacks'],
      ['--unwaive <name>', 'insist on it again'],
    ],
    examples: ['glovebox doctor', 'glovebox doctor --waive apparmor'],
    run: async (_, options) => (await import('./commands/doctor.ts')).doctor(options),
  },
  {
    usage: 'console',
    description: 'let a browser on this machine in: prints an address that logs it in, once',
    options: [['--close', 'end every login of a browser, and listen no more']],
    examples: ['glovebox console', 'glovebox console --close'],
    run: async (_, options) =>
      (await import('./commands/console.ts')).consoleCommand(flag(options['close']), flag(options['json'])),
  },
  {
    usage: 'presets',
    description: 'list the presets: agents that Glovebox knows how to run',
    options: [],
    examples: ['glovebox presets', 'glovebox run codex'],
    run: async (_, options) => (await import('./commands/presets.ts')).presets(flag(options['json'])),
  },
  {
    usage: 'completion <shell>',
    description: 'completion for bash, zsh or fish',
    options: [],
    examples: ['source <(glovebox completion bash)'],
    run: async ([shell = '']) => (await import('./commands/completion.ts')).completion(shell, commands),
  },
  {
    usage: 'manual',
    description: 'the manual page',
    options: [],
    examples: ['glovebox manual | man -l -'],
    run: async (_, options) => {
      const { manualPage } = await import('./commands/manual.ts');
      const page = manualPage(commands, (await import('./places.ts')).productVersion());
      process.stdout.write(flag(options['json']) ? `${JSON.stringify({ page })}\n` : page);
      return 0;
    },
  },
  {
    usage: 'upgrade',
    description: 'go over to the control plane of this version; the state is copied before it is migrated',
    options: [['--end-sessions', 'end running sessions; their staged changes are kept']],
    examples: ['glovebox upgrade', 'glovebox upgrade --end-sessions'],
    run: async (_, options) =>
      (await import('./commands/upgrade.ts')).upgrade(flag(options['endSessions']), flag(options['json'])),
  },
  {
    usage: 'uninstall',
    description: 'end everything, and say what is left on this machine',
    options: [
      ['--purge', 'remove the state too: sessions, staged changes, secrets, audit trail'],
      ['--confirm <word>', 'with --purge, without a question: the word is purge'],
    ],
    examples: ['glovebox uninstall', 'glovebox uninstall --purge'],
    run: async (_, options) => (await import('./commands/uninstall.ts')).uninstall(options),
  },
  {
    usage: 'version',
    description: 'the version of this program, and of the control plane that runs',
    options: [],
    examples: ['glovebox version'],
    run: async (_, options) => (await import('./commands/version.ts')).version(options),
  },
];
