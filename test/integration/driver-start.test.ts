import { mkdirSync, readFileSync, statSync, writeFileSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findRunsc, modes, World } from './driver-world.ts';

const runsc = findRunsc();

describe.each(modes)('gVisor driver as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  test('[R23] a command runs as uid 65534 and writes to a staged workspace; the project stays as it was', async () => {
    const project = world.makeFolder('a, project: with "odd" \\ characters');
    writeFileSync(join(project, 'kept.txt'), 'kept');
    world.own(join(project, 'kept.txt'));
    const request = world.staged(project);
    await world.start(request);
    const outcome = await world.sh(
      request,
      'id -u; cat kept.txt; echo new > new.txt; rm kept.txt; ls',
      '/workspace',
    );
    expect(outcome).toMatchObject({ code: 0, stdout: '65534\nkeptnew.txt\n' });
    expect(readdirSync(project)).toEqual(['kept.txt']);
    const end = await world.kill(request);
    expect(end.reason).toBe('killed');
    const upper = (await world.call({ op: 'openChanges', stateFolder: request.stateFolder })) as string;
    expect(readFileSync(join(upper, 'new.txt'), 'utf8')).toBe('new\n');
    expect(statSync(join(upper, 'new.txt')).uid).toBe(statSync(project).uid);
    expect(existsSync(join(world.settings.folder, 'run', request.sandboxId))).toBe(false);
  });
});
