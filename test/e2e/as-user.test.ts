import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { descendants, remainsOf } from './remains.ts';
import { installedPackage } from './installed.ts';
import { World } from './world.ts';

const us = process.getuid?.() ?? 0;
const uid = us === 0 ? 12345 : us;
let world: World;
let install: string;

beforeAll(() => {
  install = mkdtempSync(join(tmpdir(), 'gb-install-'));
  const launcher = installedPackage(install);
  world = new World([], { uid, launcher });
});
afterAll(async () => {
  await world.close();
  rmSync(install, { recursive: true, force: true });
});

interface Report {
  readonly fit: boolean;
  readonly facts: Readonly<Record<string, string>>;
  readonly guarantees: readonly { readonly id: string; readonly state: string; readonly waivable: boolean }[];
}

describe('an ordinary user, without any right of root', () => {
  let missing: readonly string[];

  it('is told by doctor what this host holds for them and what not', async () => {
    const { code, out, err } = await world.glovebox(['doctor', '--json']);
    expect(err.replace('glovebox: starting the control plane…\n', '')).toBe('');
    const report = JSON.parse(out) as Report;
    missing = report.guarantees.filter(({ state }) => state === 'missing').map(({ id }) => id);
    expect(code).toBe(missing.length === 0 ? 0 : 78);
    expect(report.fit).toBe(missing.length === 0);
    // What else a host lacks has no waiver: this one has it, also for a user.
    expect(missing.filter((id) => id !== 'apparmor' && id !== 'cgroup-limits')).toEqual([]);
    const text = await world.glovebox(['doctor']);
    for (const id of missing) expect(text.out).toContain(`glovebox doctor --waive ${id}`);
  });

  it('[R24] is refused a run until each thing that is missing is waived by its full name', async () => {
    for (const id of missing) {
      const refused = await world.glovebox(['run', '--', 'true']);
      expect([refused.code, refused.out]).toEqual([78, '']);
      expect(refused.err).toContain(`glovebox doctor --waive ${id}`);
      expect((await world.glovebox(['doctor', '--waive', id.slice(0, 5)])).code).toBe(64);
      const last = id === missing.at(-1);
      expect((await world.glovebox(['doctor', '--waive', id])).code).toBe(last ? 0 : 78);
    }
    expect(await world.sessions()).toEqual([]);
  });

  it('[R23] runs an agent that is uid 65534 inside, in a folder whose files are theirs', async () => {
    writeFileSync(join(world.project, 'theirs.txt'), 'theirs\n');
    chownSync(join(world.project, 'theirs.txt'), uid, uid);
    const { code, out, err } = await world.glovebox([
      ...['run', '--name', 'first', '--', 'sh', '-c'],
      'id -u; stat -c "%u %n" theirs.txt; echo more >> theirs.txt; mkdir -p sub; echo new > sub/new.txt; : > sub/empty; ln -s new.txt sub/link; chmod +x sub/new.txt; ls',
    ]);
    expect([code, out]).toEqual([0, '65534\n65534 theirs.txt\nsub\ntheirs.txt\n']);
    // What was given up is said at every run.
    for (const id of missing) expect(err).toContain(`${id} is waived`);
    expect(readFileSync(join(world.project, 'theirs.txt'), 'utf8')).toBe('theirs\n');
  });

  it('applies what it changed; the files belong to the user', async () => {
    const diff = await world.glovebox(['diff', 'first']);
    expect(diff.out).toContain('+more');
    expect(patchApplies(diff.out)).toBe('');
    const applied = await world.glovebox(['apply', 'first']);
    expect([applied.code, applied.out]).toEqual([0, 'glovebox: 5 applied\n']);
    for (const path of ['theirs.txt', 'sub', 'sub/new.txt'])
      expect([path, statSync(join(world.project, path)).uid]).toEqual([path, uid]);
    expect(readFileSync(join(world.project, 'theirs.txt'), 'utf8')).toBe('theirs\nmore\n');
    expect(statSync(join(world.project, 'sub')).mode & 0o777).toBe(0o755);
    expect(statSync(join(world.project, 'sub/new.txt')).mode & 0o777).toBe(0o755);
    expect((await world.session('first')).changes).toBe('applied');
  });

  it('has nothing of it running as root', async () => {
    const pid = await world.daemon();
    const begun = await world.glovebox(['run', '--detach', '--name', 'second', '--', 'sleep', '600']);
    expect(begun.code).toBe(0);
    const owners = [pid, ...descendants(pid).map((process) => process.pid)].map((one) => uidOf(one));
    expect(owners.length).toBeGreaterThan(5);
    expect(new Set(owners.filter((one) => one !== null))).toEqual(new Set([String(uid)]));
  });

  it('[R26] leaves nothing after stop and down; the trail names the user and verifies', async () => {
    await world.glovebox(['stop', 'second']);
    const { out } = await world.glovebox(['audit', '--session', 'first', '--json']);
    const users = (JSON.parse(out) as { record: { user: string } }[]).map(({ record }) => record.user);
    expect(new Set(users)).toEqual(new Set([`local/${uid}`]));
    expect((await world.glovebox(['audit', 'verify'])).code).toBe(3);
    expect((await world.glovebox(['down'])).code).toBe(0);
    expect(remainsOf(world)).toEqual([]);
  });
});

/** What git says of a patch of the project. */
const patchApplies = (patch: string): string =>
  spawnSync('git', ['apply', '--check', '-'], { cwd: world.project, input: patch, encoding: 'utf8' }).stderr;

const uidOf = (pid: number): string | null => {
  try {
    return /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? null;
  } catch {
    // It ended while it was looked at.
    return null;
  }
};
