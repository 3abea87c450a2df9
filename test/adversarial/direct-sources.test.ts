import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findRunsc, modes, World } from '../integration/driver-world.ts';

const runsc = findRunsc();

describe.each(modes)('sources of mounts, as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  test('[R23] [R48] nothing is mounted from where an agent of direct mode could put a link', async () => {
    const project = world.makeFolder('project');
    const inner = join(project, 'inner');
    mkdirSync(inner);
    world.own(inner);
    writeFileSync(join(inner, 'package.json'), '{}\n');
    const at = (folder: string, workspaceMode: 'direct' | 'staged', readOnly: readonly string[] = []) =>
      world.request({ workspace: { folder, mode: workspaceMode, show: [], readOnly } });
    const first = at(inner, 'direct');
    await world.start(first);
    // The same folder, one above it, and (below) one within it.
    await expect(world.start(at(inner, 'direct'))).rejects.toThrow('direct mode now');
    await expect(world.start(at(project, 'direct', ['inner/package.json']))).rejects.toThrow(
      'direct mode now',
    );
    // The controls: another folder in direct mode, and this one staged, which mounts the folder itself alone.
    for (const request of [at(world.makeFolder('other'), 'direct'), at(inner, 'staged')]) {
      await world.start(request);
      await world.kill(request);
    }
    await world.kill(first);
    const outer = at(project, 'direct', ['inner/package.json']);
    await world.start(outer);
    for (const workspaceMode of ['direct', 'staged'] as const)
      await expect(world.start(at(inner, workspaceMode))).rejects.toThrow('direct mode now');
    await world.kill(outer);
    // What an agent left behind as it ended: looked at by the caller before, a link now.
    renameSync(join(inner, 'package.json'), join(inner, 'kept'));
    symlinkSync('/etc/shadow', join(inner, 'package.json'));
    await expect(world.start(at(project, 'direct', ['inner/package.json']))).rejects.toThrow('become a link');
    renameSync(inner, join(project, 'aside'));
    symlinkSync('/etc', inner);
    await expect(world.start(at(inner, 'staged'))).rejects.toThrow('become a link');
    await expect(world.start(at(project, 'direct', ['inner/hosts']))).rejects.toThrow('through one');
    const after = at(project, 'direct', ['aside/kept']);
    await world.start(after);
    expect((await world.sh(after, 'cat aside/kept; echo x > aside/kept', '/workspace')).stdout).toBe('{}\n');
  });

  test('[R23] a provider without folders runs as a user that nobody is', async () => {
    const request = world.request({ role: 'provider' });
    await world.start(request);
    expect((await world.sh(request, 'id -u; echo made > /tmp/made; cat /tmp/made')).stdout).toBe(
      '65534\nmade\n',
    );
  });
});
