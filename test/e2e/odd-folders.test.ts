import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = new World();
  await world.waive();
});
afterAll(() => world.close());

const folder = (name: string): string => {
  const path = join(world.folder, name);
  mkdirSync(path);
  return path;
};
const run = (cwd: string, script: string): ReturnType<World['glovebox']> =>
  world.glovebox(['run', '--', 'sh', '-c', script], { cwd });

describe('a workspace', () => {
  it('that is reached through a link works, and its changes go where the link leads', async () => {
    const real = folder('real');
    symlinkSync(real, join(world.folder, 'link'));
    expect((await run(join(world.folder, 'link'), 'echo x > made')).code).toBe(0);
    expect((await world.glovebox(['apply'], { cwd: join(world.folder, 'link') })).out).toContain('1 applied');
    expect(readFileSync(join(real, 'made'), 'utf8')).toBe('x\n');
  });

  it('that is a loop of links is one clear error', async () => {
    symlinkSync('loop', join(world.folder, 'loop'));
    const ran = await world.glovebox(['run', '--workspace', join(world.folder, 'loop'), '--', 'true']);
    expect(ran.code).toBe(65);
    expect(ran.err).toMatch(/^glovebox: .*loop/);
  });

  it('with loops of links, sockets and FIFOs in it works: none of them is followed, connected to or waited for', async () => {
    const odd = folder('odd');
    symlinkSync('b', join(odd, 'a'));
    symlinkSync('a', join(odd, 'b'));
    symlinkSync('.', join(odd, 'here'));
    execFileSync('mkfifo', [join(odd, 'fifo')]);
    const server = createServer((socket) => socket.end('host'));
    server.listen(join(odd, 'socket'));
    await once(server, 'listening');
    const { code, out } = await run(
      odd,
      [
        'timeout 5 cat fifo && echo READ',
        'timeout 5 sh -c "echo x > fifo" && echo WROTE',
        `timeout 5 python3 -c "import socket; s=socket.socket(socket.AF_UNIX); s.connect('socket'); print('CONNECTED')"`,
        'cat a && echo LOOP',
        'echo new > new',
        'echo done',
      ].join('; '),
    );
    server.close();
    expect([code, out]).toEqual([0, 'done\n']);
    const { changes } = JSON.parse((await world.glovebox(['diff', '--json'], { cwd: odd })).out) as {
      changes: { path: string }[];
    };
    expect(changes.map(({ path }) => path)).toEqual(['new']);
  });

  it('that is a git work tree of another folder’s repository says so inside, and changes nothing of it', async () => {
    const main = folder('main');
    const git = (...args: string[]): string =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
        cwd: main,
        encoding: 'utf8',
      });
    git('init', '-q', '-b', 'main');
    git('commit', '-q', '--allow-empty', '-m', 'first');
    git('worktree', 'add', '-q', join(world.folder, 'tree'));
    const tree = join(world.folder, 'tree');
    const { code, out } = await run(tree, 'git status 2>&1; echo edited > file');
    expect(code).toBe(0);
    expect(out).toContain('not a git repository');
    expect((await world.glovebox(['apply'], { cwd: tree })).out).toContain('1 applied');
    expect(git('-C', tree, 'status', '--porcelain')).toBe('?? file\n');
  });

  it('ten runs at the same moment in the same folder: each has its own changes', async () => {
    const shared = folder('shared');
    const numbers = Array.from({ length: 10 }, (_, number) => number);
    const ran = await Promise.all(
      numbers.map((number) =>
        world.glovebox(
          ['run', '--name', `ten-${number}`, '--tier', 'starter', '--', 'sh', '-c', `echo ${number} > mine`],
          {
            cwd: shared,
          },
        ),
      ),
    );
    expect(ran.map(({ code }) => code)).toEqual(numbers.map(() => 0));
    for (const number of [3, 7]) {
      const { out } = await world.glovebox(['diff', `ten-${number}`], { cwd: shared });
      expect(out).toContain(`+${number}`);
    }
    expect((await world.glovebox(['apply', 'ten-3'], { cwd: shared })).out).toContain('1 applied');
    // The host's file came after the other one's start: which of both is wanted, a person says.
    expect((await world.glovebox(['apply', 'ten-7'], { cwd: shared })).out).toContain('changed on the host');
    rmSync(join(shared, 'mine'));
    expect((await world.glovebox(['apply', 'ten-7'], { cwd: shared })).out).toContain('1 applied');
    writeFileSync(join(shared, 'other'), '');
  });
});
