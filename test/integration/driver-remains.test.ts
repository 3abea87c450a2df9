import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { tiers } from '../../pure/contracts/index.ts';
import { findRunsc, modes, userId, World } from './driver-world.ts';

const runsc = findRunsc();

/** Host processes that name the world's folder: runsc, its kernel, its gofer. */
function processesOf(world: World): { pid: number; uid: number; args: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const status = readFileSync(`/proc/${name}/status`, 'utf8');
        const uid = Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1]);
        return args.includes(`--root=${world.settings.folder}/`) ? [{ pid: Number(name), uid, args }] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}

/** Loop devices of this world, but for the one that is kept ready for the next start. */
const loopsOf = (world: World): string[] =>
  execFileSync('losetup', ['-a'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(world.folder) && !line.includes('/driver/spare/'))
    .map((line) => line.slice(0, line.indexOf(':')));
const mountsOf = (world: World): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(
      (line) =>
        line.includes(`${world.settings.folder}/run`) || loopsOf(world).some((loop) => line.includes(loop)),
    );
const cgroupsOf = (id: string): string[] =>
  ['memory', 'cpu', 'pids', 'unified', '.'].flatMap((name) => {
    const folder = `/sys/fs/cgroup/${name}/glovebox`;
    return existsSync(folder) ? readdirSync(folder).filter((found) => found.endsWith(id)) : [];
  });

/** Waits for a condition of the host that nothing announces; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe.each(modes)('what a sandbox leaves, as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());
  const nothingLeft = async (id: string): Promise<void> => {
    expect(processesOf(world)).toEqual([]);
    expect(mountsOf(world)).toEqual([]);
    expect(cgroupsOf(id)).toEqual([]);
    expect(readdirSync(join(world.settings.folder, 'run'))).toEqual([]);
    await until(() => loopsOf(world).length === 0);
  };

  test('[R23] runsc\u2019s kernel and gofer have a user of their own, never the host\u2019s root', async () => {
    const request = world.staged(world.makeFolder('project'));
    await world.start(request);
    await world.sh(request, 'true');
    const found = processesOf(world).filter(({ args }) => /\b(boot|gofer)\b/.test(args));
    expect(found.length).toBeGreaterThanOrEqual(2);
    if (mode === 'root') expect(cgroupsOf(request.sandboxId)).not.toEqual([]);
    for (const { uid } of found)
      if (mode === 'root') expect(uid).toBeGreaterThanOrEqual(0x60000000);
      else expect(uid).toBe(userId);
    await world.kill(request);
    await nothingLeft(request.sandboxId);
  });

  test('[R26] init\u2019s own end leaves nothing; killing twice is the same as once', async () => {
    const request = world.staged(world.makeFolder('project'));
    await world.start(request);
    await world.sh(request, 'echo x > /workspace/x');
    expect(await world.call({ op: 'stop', sandbox: request.sandboxId })).toMatchObject({ reason: 'exited' });
    expect(await world.kill(request)).toMatchObject({ reason: 'exited' });
    await nothingLeft(request.sandboxId);
  });

  test('[R46] SIGKILL of runsc ends the sandbox, and it says so', async () => {
    const request = world.staged(world.makeFolder('project'));
    const { pid } = await world.start(request);
    await world.sh(request, 'true');
    process.kill(pid, 'SIGKILL');
    expect(await world.ended(request)).toMatchObject({ reason: 'crashed', signal: 'SIGKILL' });
    await nothingLeft(request.sandboxId);
  });

  test('[R46] SIGKILL of the driver\u2019s process ends its sandboxes at once; the next start removes what they left', async () => {
    const request = world.staged(world.makeFolder('project'));
    await world.start(request);
    await world.sh(request, 'echo kept > /workspace/kept');
    await world.killHost();
    await until(() => processesOf(world).length === 0);
    expect(existsSync(join(world.settings.folder, 'run', request.sandboxId))).toBe(true);
    const report = await world.reap();
    expect(report).toMatchObject({ sandboxes: [request.sandboxId], left: [] });
    await nothingLeft(request.sandboxId);
    const upper = (await world.call({ op: 'openChanges', stateFolder: request.stateFolder })) as string;
    expect(readFileSync(join(upper, 'kept'), 'utf8')).toBe('kept\n');
    await world.call({ op: 'removeChanges', stateFolder: request.stateFolder });
    expect(existsSync(upper)).toBe(false);
  });

  test('[R26] reaping leaves a sandbox alone that runs', async () => {
    const request = world.staged(world.makeFolder('project'));
    await world.start(request);
    await world.sh(request, 'true');
    expect(await world.reap([request.sandboxId])).toMatchObject({ sandboxes: [] });
    expect(await world.sh(request, 'echo alive')).toMatchObject({ stdout: 'alive\n' });
    await world.kill(request);
  });

  test('[R26] a driver that closes gives back what it had prepared', async () => {
    await world.call({ op: 'prepare', tier: tiers.starter });
    const mounted = (): number =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .filter((line) => line.includes(world.settings.folder)).length;
    expect(mounted()).toBe(mode === 'root' ? 1 : 0);
    await world.call({ op: 'close' });
    expect(mounted()).toBe(0);
    await world.killHost();
  });

  test('[R48] credential files are hidden in a staged workspace, unless the policy shows them; the agent may make its own', async () => {
    const project = world.makeFolder('with-secrets');
    for (const path of ['.env', '.env.example', 'deep/er/id_rsa', 'deep/er/plain', 'shown/.npmrc']) {
      const file = join(project, path);
      mkdirSync(join(file, '..'), { recursive: true });
      writeFileSync(file, `secret of ${path}`);
    }
    const request = world.request({
      workspace: { folder: project, mode: 'staged', show: ['shown/**'], readOnly: [] },
    });
    const { hidden } = await world.start(request);
    expect(hidden.sort()).toEqual(['.env', 'deep/er/id_rsa']);
    const seen = await world.sh(
      request,
      'find . -type f | sort; cat deep/er/plain; echo mine > .env && cat .env',
      '/workspace',
    );
    expect(seen.stdout).toBe(
      './.env.example\n./deep/er/plain\n./shown/.npmrc\nsecret of deep/er/plainmine\n',
    );
    expect(readFileSync(join(project, '.env'), 'utf8')).toBe('secret of .env');
    await world.kill(request);
  });

  test('[R48] direct mode writes through, but credentials are empty and host-run files read-only, also by moving a folder aside', async () => {
    const project = world.makeFolder('direct');
    for (const folder of ['.git', '.git/hooks'])
      world.own((mkdirSync(join(project, folder), { recursive: true }), join(project, folder)));
    for (const path of ['.env', '.git/hooks/pre-commit', '.git/config', 'README']) {
      writeFileSync(join(project, path), `text of ${path}`);
      world.own(join(project, path));
    }
    const request = world.request({
      workspace: { folder: project, mode: 'direct', show: [], readOnly: ['.git/hooks', '.git/config'] },
    });
    await world.start(request);
    const tried = async (script: string): Promise<number | null | undefined> =>
      (await world.sh(request, script, '/workspace')).code;
    expect((await world.sh(request, 'cat .env; cat README', '/workspace')).stdout).toBe('text of README');
    expect(await tried('echo x > .git/hooks/pre-commit')).not.toBe(0);
    expect(await tried('echo x > .git/hooks/post-merge')).not.toBe(0);
    expect(await tried('echo x > .git/config')).not.toBe(0);
    expect(await tried('mv .git .git-aside')).not.toBe(0);
    expect(await tried('echo x > .git/ORIG_HEAD && echo y > new.txt')).toBe(0);
    expect(readFileSync(join(project, '.git/hooks/pre-commit'), 'utf8')).toBe(
      'text of .git/hooks/pre-commit',
    );
    expect(readFileSync(join(project, 'new.txt'), 'utf8')).toBe('y\n');
    await world.kill(request);
    expect(readFileSync(join(project, '.env'), 'utf8')).toBe('text of .env');
  });
});
