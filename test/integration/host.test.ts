import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { controllers, judgeHost, type HostFacts } from '../../pure/host/index.ts';
import { asRoot, findRunsc, modes, userId, World, type Mode } from './driver-world.ts';

const runsc = findRunsc();
const run = promisify(execFile);

/** In a process of its own, as the mode's user. */
async function gather(world: World, mode: Mode): Promise<HostFacts> {
  const { runsc, init, folder } = world.settings;
  const script = [`${import.meta.dirname}/host-probe-process.ts`, JSON.stringify({ runsc, init, folder })];
  const drop = [
    '--reuid',
    String(userId),
    '--regid',
    String(userId),
    '--clear-groups',
    '--',
    process.execPath,
  ];
  const [program = '', ...words] = asRoot && mode === 'user' ? ['setpriv', ...drop] : [process.execPath];
  const env = { PATH: process.env['PATH'] ?? '', HOME: world.makeFolder('home') };
  const { stdout } = await run(program, [...words, '--import', 'tsx', ...script], { env });
  return JSON.parse(stdout) as HostFacts;
}

describe.each(modes)('this host as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  test('[R24] what is found is what this host has: each layer that the driver uses was tried and left nothing', async () => {
    const facts = await gather(world, mode);
    expect(facts.kernel).toBe(release());
    expect(facts.uid).toBe(mode === 'root' ? 0 : userId);
    // These are what every other test of the driver stands on: a host without them fails those too.
    for (const attempt of [
      facts.userNamespaces,
      facts.sandboxNamespaces,
      facts.jailNamespaces,
      facts.overlay,
    ])
      expect(attempt).toEqual({ works: true });
    expect(facts.platform.chosen?.name).toMatch(/^(systrap|kvm)$/);
    expect(facts.sizedDisk).toEqual(mode === 'root' ? { works: true } : null);
    expect(facts.seccompActions).toContain('errno');
    expect(facts.disk.freeBytes).toBeGreaterThan(0);
    expect(readdirSync(world.settings.folder).filter((name) => name.startsWith('probe-'))).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(world.settings.folder);

    const { guarantees, fit } = judgeHost(facts, ['apparmor', 'cgroup-limits']);
    expect(guarantees.filter(({ state }) => state === 'missing')).toEqual([]);
    expect(fit).toBe(true);
    const limited = controllers.every((name) => 'version' in facts.cgroups.controllers[name]);
    const strict = judgeHost(facts, []);
    expect(strict.fit).toBe(limited && facts.apparmor.profile.works);
  });

  test('the second look starts no sandbox: the answer holds until the next boot', async () => {
    const first = await gather(world, mode);
    const kept = readFileSync(`${world.settings.folder}/platform.json`, 'utf8');
    expect((await gather(world, mode)).platform).toEqual(first.platform);
    expect(readFileSync(`${world.settings.folder}/platform.json`, 'utf8')).toBe(kept);
  });
});
