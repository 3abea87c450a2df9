import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { findPlatform, reapProbes } from './platform.ts';

const real = (
  JSON.parse(readFileSync(new URL('../../../dist/tools.json', import.meta.url), 'utf8')) as { runsc: string }
).runsc;
if (!existsSync(real)) throw new Error(`no runsc at ${real}: run the set-up first`);
const init = join(import.meta.dirname, '../../../dist/init');
const root = mkdtempSync(join(tmpdir(), 'gb-platform-'));
chmodSync(root, 0o755);
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(root, 'driver-'));
});

/** A runsc that writes down how it is called and then does what the test says. */
function fakeRunsc(body: string): { readonly path: string; readonly calls: () => string[] } {
  const path = join(folder, 'runsc');
  const log = join(folder, 'calls');
  writeFileSync(
    path,
    `#!/bin/sh\necho "$*" >> ${log}\n[ "$1" = --version ] && { echo 'runsc version release-1'; exit 0; }\n${body}\n`,
    { mode: 0o755 },
  );
  return { path, calls: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []) };
}
const find = (runsc: string, timeoutMs = 15_000): ReturnType<typeof findPlatform> =>
  findPlatform({ runsc, init, folder, apparmor: false, timeoutMs });
const probes = (): string[] => readdirSync(folder).filter((name) => name.startsWith('probe-'));
const kvmIsThere = ((): boolean => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

describe('the platform', () => {
  test('systrap is taken where a whole sandbox starts on it, and the next look costs no start', async () => {
    const runsc = fakeRunsc(`exec ${real} "$@"`);
    const first = await find(runsc.path);
    expect(first.platform).toMatchObject({ chosen: { name: 'systrap' }, failed: [] });
    expect(first.runsc).toEqual({ path: runsc.path, version: 'release-1' });
    const { length } = runsc.calls();
    expect(await find(runsc.path)).toEqual(first);
    expect(runsc.calls()).toHaveLength(length);
    expect(probes()).toEqual([]);
  });

  test('another runsc, or a damaged answer, is looked at anew', async () => {
    const runsc = fakeRunsc(`exec ${real} "$@"`);
    await find(runsc.path);
    const { length } = runsc.calls();
    writeFileSync(join(folder, 'platform.json'), '{"key":');
    await find(runsc.path);
    expect(runsc.calls().length).toBeGreaterThan(length);
    const again = runsc.calls().length;
    writeFileSync(runsc.path, readFileSync(runsc.path, 'utf8') + '# changed\n');
    await find(runsc.path);
    expect(runsc.calls().length).toBeGreaterThan(again);
  });

  test('one that hangs is ended at its time, and nothing is remembered', async () => {
    const runsc = fakeRunsc('exec sleep 1000');
    const found = await find(runsc.path, 300);
    expect(found.platform.chosen).toBeNull();
    expect(found.platform.failed[0]).toEqual({
      name: 'systrap',
      said: 'The sandbox reached its time limit.',
    });
    expect(found.platform.failed).toHaveLength(kvmIsThere ? 2 : 1);
    expect(existsSync(join(folder, 'platform.json'))).toBe(false);
    expect(probes()).toEqual([]);
  });

  test('kvm is tried only where it is there and systrap failed', async () => {
    const runsc = fakeRunsc(
      `case "$*" in *--platform=systrap*) echo 'no systrap here' >&2; exit 128;; esac
       for word in "$@"; do shift; [ "$word" = --platform=kvm ] && word=--platform=systrap; set -- "$@" "$word"; done
       exec ${real} "$@"`,
    );
    const { platform } = await find(runsc.path);
    expect(platform.failed).toMatchObject([{ name: 'systrap' }]);
    expect(platform.failed[0]?.said).toContain('no systrap here');
    if (kvmIsThere) expect(platform.chosen).toMatchObject({ name: 'kvm' });
    else expect(platform.chosen).toBeNull();
  });

  test('no runsc, and one that does not run, are said so', async () => {
    expect((await find(join(folder, 'none'))).runsc).toEqual({
      missing: `there is no runsc at ${folder}/none`,
    });
    const broken = join(folder, 'broken');
    writeFileSync(broken, '#!/bin/sh\necho "wrong machine" >&2\nexit 1\n', { mode: 0o755 });
    expect((await find(broken)).runsc).toEqual({ missing: 'runsc does not run: wrong machine' });
  });

  test('[R46] what a probe left that was killed is removed, what runs now is not', async () => {
    mkdirSync(join(folder, 'probe-4000000-abc/run/x'), { recursive: true });
    mkdirSync(join(folder, `probe-${process.pid}-abc`), { recursive: true });
    await reapProbes(folder);
    expect(probes()).toEqual([`probe-${process.pid}-abc`]);
  });
});
