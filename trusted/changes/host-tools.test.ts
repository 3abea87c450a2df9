import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { applyChanges, listChanges } from './index.ts';
import { Layer } from './testing.ts';

let layer: Layer;
let proof: string;
beforeEach(() => {
  layer = new Layer();
  proof = join(layer.folder, 'executed');
  mkdirSync(join(layer.folder, 'home'));
});
afterEach(() => layer.close());

const quiet = (): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '/usr/bin:/bin',
  HOME: join(layer.folder, 'home'),
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
});
const git = (folder: string, ...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
    cwd: folder,
    env: quiet(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
const tryGit = (folder: string, ...args: string[]): void => {
  spawnSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
    cwd: folder,
    env: quiet(),
    stdio: 'ignore',
  });
};
const touch = (): string => `touch ${proof}`;

interface Attack {
  /** Makes the host's repository. */
  readonly host?: () => void;
  /** What the agent leaves in the layer. */
  readonly agent: () => void;
  /** What a person then does on the host, who was not asked for anything. */
  readonly person: () => void;
}

const repository = (): void => {
  git(layer.lower(''), 'init', '-q', '-b', 'main');
  layer.host('a.txt', 'a\n');
  git(layer.lower(''), 'add', '-A');
  git(layer.lower(''), 'commit', '-q', '-m', 'first');
};
const bare = (folder: string, config: string): void => {
  git(layer.folder, 'init', '-q', '--bare', 'made');
  mkdirSync(join(folder, '..'), { recursive: true });
  renameSync(join(layer.folder, 'made'), folder);
  writeFileSync(
    join(folder, 'config'),
    `[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = .\n${config}`,
  );
};

/** Each runs a program of the agent's on the host as soon as a person uses git as always. */
const attacks: Readonly<Record<string, Attack>> = {
  'a hook': {
    host: repository,
    agent: () => layer.agent('.git/hooks/pre-commit', `#!/bin/sh\n${touch()}\n`, 0o755),
    person: () => tryGit(layer.lower(''), 'commit', '--allow-empty', '-m', 'x'),
  },
  'the configuration: fsmonitor': {
    host: repository,
    agent: () =>
      layer.agent('.git/config', `[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "${touch()};false"\n`),
    person: () => tryGit(layer.lower(''), 'status'),
  },
  'the configuration of one work tree': {
    host: () => {
      repository();
      git(layer.lower(''), 'config', 'extensions.worktreeConfig', 'true');
    },
    agent: () => layer.agent('.git/config.worktree', `[core]\n\tfsmonitor = "${touch()};false"\n`),
    person: () => tryGit(layer.lower(''), 'status'),
  },
  'a filter that is configured already, for a file of the agent’s': {
    host: () => {
      repository();
      git(layer.lower(''), 'config', 'filter.run.clean', `${touch()};cat`);
    },
    agent: () => layer.agent('.gitattributes', '* filter=run\n'),
    person: () => {
      layer.host('a.txt', 'b\n');
      tryGit(layer.lower(''), 'add', '-A');
    },
  },
  'attributes that only git’s folder has': {
    host: () => {
      repository();
      git(layer.lower(''), 'config', 'filter.run.clean', `${touch()};cat`);
    },
    agent: () => layer.agent('.git/info/attributes', '* filter=run\n'),
    person: () => {
      layer.host('a.txt', 'b\n');
      tryGit(layer.lower(''), 'add', '-A');
    },
  },
  'a hook of a submodule': {
    host: () => {
      repository();
      git(layer.lower(''), 'init', '-q', 'sub');
      git(layer.lower('sub'), 'commit', '-q', '--allow-empty', '-m', 'first');
      mkdirSync(layer.lower('.git/modules'));
      renameSync(layer.lower('sub/.git'), layer.lower('.git/modules/sub'));
      layer.host('sub/.git', 'gitdir: ../.git/modules/sub\n');
    },
    agent: () => layer.agent('.git/modules/sub/hooks/pre-commit', `#!/bin/sh\n${touch()}\n`, 0o755),
    person: () => tryGit(layer.lower('sub'), 'commit', '--allow-empty', '-m', 'x'),
  },
  'a new .git file that leads to a repository of the agent’s': {
    agent: () => {
      bare(layer.upper('data'), `\tfsmonitor = "${touch()};false"\n`);
      layer.agent('src/.git', 'gitdir: ../data\n');
    },
    person: () => tryGit(layer.lower('src'), 'status'),
  },
  'a repository that is not called .git': {
    agent: () => bare(layer.upper('docs/images'), `\tfsmonitor = "${touch()};false"\n`),
    person: () => tryGit(layer.lower('docs/images'), 'status'),
  },
  'the configuration of one that was there': {
    host: () => bare(layer.lower('fixtures/one'), ''),
    agent: () =>
      layer.agent(
        'fixtures/one/config',
        `[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = .\n\tfsmonitor = "${touch()};false"\n`,
      ),
    person: () => tryGit(layer.lower('fixtures/one'), 'status'),
  },
};

async function applyEverythingTwice(): Promise<void> {
  // What the first round brings out must not make the second one's rest harmless to look at.
  await applyChanges(layer.staged, { sensitive: [] });
  await applyChanges(layer.staged, { sensitive: [] });
}

describe('[R48] what the real git executes unasked', () => {
  for (const [name, attack] of Object.entries(attacks)) {
    it(`${name}: not after an apply without its name`, async () => {
      attack.host?.();
      attack.agent();
      await applyEverythingTwice();
      attack.person();
      expect(existsSync(proof)).toBe(false);
    });

    it(`control: ${name} is executed once it was named`, async () => {
      attack.host?.();
      attack.agent();
      const { changes } = await listChanges(layer.staged);
      const sensitive = changes.flatMap((change) => (change.sensitive === null ? [] : [change.path]));
      expect(sensitive).not.toEqual([]);
      expect((await applyChanges(layer.staged, { sensitive })).skipped).toEqual([]);
      attack.person();
      expect(existsSync(proof)).toBe(true);
    });
  }

  it('what makes a folder a repository is asked for, though the rest was applied when it was none', async () => {
    bare(layer.upper('x'), `\tfsmonitor = "${touch()};false"\n`);
    rmSync(layer.upper('x/HEAD'));
    await applyChanges(layer.staged, { sensitive: [] });
    expect(existsSync(layer.lower('x/config'))).toBe(true);
    layer.agent('x/HEAD', 'ref: refs/heads/main\n');
    expect((await listChanges(layer.staged)).changes).toMatchObject([
      { path: 'x/HEAD', sensitive: expect.stringContaining('repository') },
    ]);
    await applyEverythingTwice();
    tryGit(layer.lower('x'), 'status');
    expect(existsSync(proof)).toBe(false);
  });

  it('commits, branches and the index come out unasked: work of an agent that uses git', async () => {
    repository();
    execFileSync('cp', ['-a', `${layer.lower('')}/.`, layer.upper('')]);
    layer.agent('a.txt', 'changed\n');
    git(layer.upper(''), 'commit', '-q', '-am', 'second');
    const { changes } = await listChanges(layer.staged);
    expect(changes.filter(({ sensitive }) => sensitive !== null)).toEqual([]);
    expect((await applyChanges(layer.staged, { sensitive: [] })).skipped).toEqual([]);
    expect(git(layer.lower(''), 'log', '--format=%s')).toBe('second\nfirst\n');
    expect(git(layer.lower(''), 'status', '--porcelain')).toBe('');
  });
});

describe('[R48] other tools of the host', () => {
  const has = (program: string, context: TestContext): void => {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)
      context.skip(`this host has no ${program}`);
  };

  it('direnv: .envrc is not applied unnamed', async (context) => {
    has('direnv', context);
    layer.agent('.envrc', touch());
    await applyEverythingTwice();
    execFileSync('direnv', ['allow', '.'], { cwd: layer.lower(''), env: quiet() });
    spawnSync('direnv', ['exec', '.', 'true'], { cwd: layer.lower(''), env: quiet() });
    expect(existsSync(proof)).toBe(false);
  });

  it.each([
    ['an install script', 'package.json', (): string => JSON.stringify({ scripts: { preinstall: touch() } })],
    ['a build of native code', 'binding.gyp', (): string => `{"targets":[{"target_name":"<!(${touch()})"}]}`],
  ])('npm: %s is not run by npm install, where it was not named', async (_, path, content) => {
    if (path !== 'package.json') layer.host('package.json', '{"name":"x","version":"1.0.0"}');
    layer.agent(path, content());
    await applyEverythingTwice();
    expect(existsSync(layer.lower(path))).toBe(false);
    expect((await applyChanges(layer.staged, { sensitive: [path] })).applied).toEqual([path]);
    if (path !== 'package.json') return;
    // The control: npm does run it.
    spawnSync('npm', ['install', '--no-audit', '--no-fund', '--offline'], {
      cwd: layer.lower(''),
      env: quiet(),
    });
    expect(existsSync(proof)).toBe(true);
  });

  it('VS Code: tasks that run on opening, settings, workspace files, whatever the case', async () => {
    for (const path of [
      '.vscode/tasks.json',
      'sub/.VSCode/settings.json',
      'x.code-workspace',
      '.devcontainer/devcontainer.json',
    ])
      layer.agent(path, '{}');
    layer.agent('src/main.ts', 'fine');
    const { applied, skipped } = await applyChanges(layer.staged, { sensitive: [] });
    expect(applied).toContain('src/main.ts');
    expect(skipped.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['.vscode/tasks.json', 'sub/.VSCode/settings.json', 'x.code-workspace']),
    );
    expect(readdirSync(layer.lower('')).sort()).toEqual(['src', 'sub']);
    chmodSync(layer.lower('src'), 0o755);
  });
});
