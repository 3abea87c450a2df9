import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { limits } from '../../pure/contracts/index.ts';
import { guardedPaths } from '../../trusted/drivers/index.ts';
import { findRunsc, modes, userId, World, type Mode } from './driver-world.ts';

const runsc = findRunsc();

/** A repository with what a developer's usually has, that belongs to the mode's user. */
function makeProject(world: World, mode: Mode): string {
  const project = world.makeFolder('project');
  const write = (path: string, text: string): void => {
    mkdirSync(join(project, path, '..'), { recursive: true });
    writeFileSync(join(project, path), text);
  };
  write('src/main.ts', 'export const one = 1;\n');
  write('package.json', '{}\n');
  write('packages/a/package.json', '{}\n');
  write('packages/a/index.ts', '\n');
  write('.envrc', 'export A=1\n');
  write('.vscode/tasks.json', '{}\n');
  write('README.md', 'read\n');
  write('node_modules/left-pad/package.json', '{}\n');
  symlinkSync('README.md', join(project, 'CLAUDE.md'));
  symlinkSync('/etc/hostname', join(project, 'AGENTS.md'));
  git(project, 'init', '-q', '-b', 'main');
  write('.git/hooks/pre-commit', '#!/bin/sh\nexit 0\n');
  chmodSync(join(project, '.git/hooks/pre-commit'), 0o755);
  git(project, 'add', '-A');
  git(project, '-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-q', '-m', 'first');
  mkdirSync(join(project, '.git/modules/libs'), { recursive: true });
  git(project, 'init', '-q', '--bare', '.git/modules/libs/sub');
  if (mode === 'user' && process.geteuid?.() === 0)
    execFileSync('chown', ['-hR', `${userId}:${userId}`, project]);
  return project;
}

const git = (folder: string, ...args: string[]): string =>
  execFileSync('git', ['-c', 'safe.directory=*', '-C', folder, ...args], { encoding: 'utf8' });

describe.each(modes)('direct mode as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  test('[R48] an agent edits sources and commits; what host tools execute unasked it can neither change nor move away', async () => {
    const project = makeProject(world, mode);
    const guarded = await guardedPaths(project, 'direct');
    expect(guarded.readOnly).toEqual(
      expect.arrayContaining([
        ...[
          '.envrc',
          '.git/config',
          '.git/hooks',
          '.git/info',
          '.vscode',
          'package.json',
          'packages/a/package.json',
        ],
        // What a link on the list stands for; the link itself cannot be mounted over, and one that leads out is not followed.
        'README.md',
        '.git/modules/libs/sub/config',
        '.git/modules/libs/sub/hooks',
      ]),
    );
    for (const data of [
      '.git/index',
      '.git/HEAD',
      '.git/refs',
      '.git/objects',
      '.git/modules/libs/sub/objects',
    ])
      expect(guarded.readOnly).not.toContain(data);
    for (const never of ['AGENTS.md', 'CLAUDE.md', 'node_modules/left-pad/package.json', '.git'])
      expect(guarded.readOnly).not.toContain(never);

    const request = world.request({
      workspace: { folder: project, mode: 'direct', show: [], readOnly: guarded.readOnly },
    });
    await world.start(request);
    const sh = async (script: string): Promise<number | null | undefined> =>
      (await world.sh(request, script, '/workspace')).code;
    const as = 'git -c user.name=agent -c user.email=agent@example.org';
    const commit = await world.sh(
      request,
      `echo 'export const two = 2;' >> src/main.ts && echo new > src/new.ts && echo x > packages/a/index.ts &&
       git add -A && ${as} commit -q -m second && git log --format=%s -1`,
      '/workspace',
    );
    expect(commit).toMatchObject({ code: 0, stdout: 'second\n' });

    for (const refused of [
      'echo evil >> .git/hooks/pre-commit',
      'echo evil > .git/hooks/post-checkout',
      'rm .git/hooks/pre-commit',
      'mv .git/hooks .git/hooks-old',
      'mv .git .git-old',
      'git config core.hooksPath /workspace/src',
      'echo evil >> .git/config',
      'mv .git/config .git/config-old',
      'echo evil > .git/new && mv -f .git/new .git/config',
      'echo evil > .git/info/attributes',
      'echo evil >> package.json',
      'mv package.json old.json',
      'echo evil > new.json && mv -f new.json package.json',
      'rm package.json',
      'echo evil >> packages/a/package.json',
      'mv packages/a packages/b',
      'mv packages old',
      'echo evil > .envrc',
      'mv .envrc .envrc-old',
      'echo evil > .vscode/tasks.json',
      'mv .vscode vscode',
      'ln package.json src/package-link && echo evil > src/package-link',
      'echo evil >> CLAUDE.md',
      'echo evil >> .git/modules/libs/sub/config',
    ])
      expect(await sh(refused), refused).not.toBe(0);
    // The same words on a file that is not on the list.
    expect(
      await sh('echo fine >> src/new.ts && mv src/new.ts src/renamed.ts && mv src lib && mv lib src'),
    ).toBe(0);
    await world.kill(request);

    expect(readFileSync(join(project, '.git/hooks/pre-commit'), 'utf8')).toBe('#!/bin/sh\nexit 0\n');
    expect(existsSync(join(project, '.git/hooks/post-checkout'))).toBe(false);
    expect(readFileSync(join(project, 'package.json'), 'utf8')).toBe('{}\n');
    expect(readFileSync(join(project, 'packages/a/package.json'), 'utf8')).toBe('{}\n');
    expect(readFileSync(join(project, '.envrc'), 'utf8')).toBe('export A=1\n');
    expect(git(project, 'config', '--get', '--default', 'none', 'core.hooksPath').trim()).toBe('none');
    expect(git(project, 'log', '--format=%s')).toBe('second\nfirst\n');
  });

  test('[R48] what is new on the list, and a link on it that was replaced, is reported at the end', async () => {
    const project = world.makeFolder('reported');
    mkdirSync(join(project, 'tools/wrapper'), { recursive: true });
    writeFileSync(join(project, 'package.json'), '{}');
    symlinkSync('package.json', join(project, 'AGENTS.md'));
    git(project, 'init', '-q');
    if (mode === 'user' && process.geteuid?.() === 0)
      execFileSync('chown', ['-hR', `${userId}:${userId}`, project]);
    const guarded = await guardedPaths(project, 'direct');
    const request = world.request({
      workspace: { folder: project, mode: 'direct', show: [], readOnly: guarded.readOnly },
    });
    await world.start(request);
    const made = await world.sh(
      request,
      'echo a > ordinary.txt; mkdir -p sub && echo evil > sub/.envrc && echo evil > .git/config.worktree && rm AGENTS.md && echo evil > AGENTS.md && mv tools gradle',
      '/workspace',
    );
    expect(made.code).toBe(0);
    await world.kill(request);
    expect(await guarded.changed()).toEqual([
      '.git/config.worktree',
      'AGENTS.md',
      'gradle/wrapper',
      'sub/.envrc',
    ]);
  });
});

describe('the walk', () => {
  const world = new World(modes[0] ?? 'user', runsc);
  afterAll(() => world.close());

  test('staged mode guards nothing: apply asks for each', async () => {
    const project = world.makeFolder('staged');
    writeFileSync(join(project, 'package.json'), '{}');
    expect((await guardedPaths(project, 'staged')).readOnly).toEqual([]);
    expect((await guardedPaths(project, 'direct')).readOnly).toEqual(['package.json']);
  });

  test('a folder that nobody touched is reported as such', async () => {
    const project = world.makeFolder('untouched');
    writeFileSync(join(project, '.envrc'), '');
    symlinkSync('.envrc', join(project, 'CLAUDE.md'));
    const guarded = await guardedPaths(project, 'direct');
    expect(await guarded.changed()).toEqual([]);
    writeFileSync(join(project, 'other'), '');
    renameSync(join(project, 'other'), join(project, 'GEMINI.md'));
    expect(await guarded.changed()).toEqual(['GEMINI.md']);
  });

  test('[R45] more than can be mounted refuses the start', async () => {
    const project = world.makeFolder('many');
    for (let index = 0; index <= limits.guardedPaths.value; index += 1) {
      mkdirSync(join(project, `${index}`));
      writeFileSync(join(project, `${index}/package.json`), '');
    }
    await expect(guardedPaths(project, 'direct')).rejects.toMatchObject({ code: 'GB_WORKSPACE_REFUSED' });
  });
});
