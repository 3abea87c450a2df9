import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limits } from '../contracts/index.ts';
import { controllers, judgeHost, neededTools, waivable, type Attempt, type HostFacts } from './index.ts';

const yes: Attempt = { works: true };
const no: Attempt = { works: false, said: 'Operation not permitted' };
const every = <K extends string, V>(keys: readonly K[], value: V): Record<K, V> =>
  Object.fromEntries(keys.map((key) => [key, value])) as Record<K, V>;

const good: HostFacts = {
  kernel: '6.12.0',
  uid: 0,
  userNamespaces: yes,
  sandboxNamespaces: yes,
  jailNamespaces: yes,
  overlay: yes,
  cgroups: { layout: 'v2', controllers: every(controllers, { version: 2 }) },
  runsc: { path: '/opt/runsc', version: 'release-20260518.0' },
  platform: { chosen: { name: 'systrap', ms: 150 }, failed: [] },
  apparmor: { enabled: true, profile: yes, restrictsUserNamespaces: false },
  landlock: false,
  seccompActions: ['kill_process', 'trap', 'errno', 'allow'],
  tools: every(neededTools, yes),
  sizedDisk: yes,
  disk: { folder: '/state', freeBytes: 2 ** 40 },
};

/** Each way in which a host may lack something, with the guarantee that then is missing. */
const lacks: readonly (readonly [string, (facts: HostFacts) => HostFacts])[] = [
  ...neededTools.map(
    (name) => ['tools', (f: HostFacts) => ({ ...f, tools: { ...f.tools, [name]: no } })] as const,
  ),
  ['user-namespaces', (f) => ({ ...f, userNamespaces: no })],
  ['user-namespaces', (f) => ({ ...f, sandboxNamespaces: no })],
  ['sandbox-kernel', (f) => ({ ...f, runsc: { missing: 'there is no runsc' } })],
  [
    'sandbox-kernel',
    (f) => ({ ...f, platform: { chosen: null, failed: [{ name: 'systrap', said: 'no' }] } }),
  ],
  ['sandbox-kernel', (f) => ({ ...f, platform: { chosen: null, failed: [] } })],
  ['seccomp', (f) => ({ ...f, seccompActions: [] })],
  ['seccomp', (f) => ({ ...f, seccompActions: ['allow', 'errno', 'trap'] })],
  ['confinement', (f) => ({ ...f, jailNamespaces: no })],
  ['staged-workspace', (f) => ({ ...f, overlay: no })],
  ...controllers.map(
    (name) =>
      [
        'cgroup-limits',
        (f: HostFacts) => ({
          ...f,
          cgroups: {
            ...f.cgroups,
            controllers: { ...f.cgroups.controllers, [name]: { missing: 'not there' } },
          },
        }),
      ] as const,
  ),
  ['disk-limit', (f) => ({ ...f, sizedDisk: no })],
  ['disk-space', (f) => ({ ...f, disk: { ...f.disk, freeBytes: limits.hostDiskFree.value - 1 } })],
  ['apparmor', (f) => ({ ...f, apparmor: { ...f.apparmor, enabled: false, profile: no } })],
  ['apparmor', (f) => ({ ...f, apparmor: { ...f.apparmor, profile: no } })],
];
const names = [...new Set(lacks.map(([id]) => id))];

describe('judgeHost', () => {
  test('a host that has all is fit, and each guarantee is held', () => {
    const report = judgeHost(good, []);
    expect(report.fit).toBe(true);
    expect(report.guarantees.map(({ id }) => id).sort()).toEqual([...names].sort());
    expect(report.guarantees.every(({ state, todo }) => state === 'held' && todo === null)).toBe(true);
    expect(report.facts['gVisor platform']).toBe('systrap, started in 150 ms');
  });

  test.each(lacks.map(([id, lack], index) => ({ id, lack, index })))(
    '[R24] a host without $id ($index) is not fit, and says what to do',
    ({ id, lack }) => {
      const report = judgeHost(lack(good), []);
      expect(report.fit).toBe(false);
      const missing = report.guarantees.filter(({ state }) => state === 'missing');
      expect(missing.map((one) => one.id)).toEqual([id]);
      expect(missing[0]?.detail).not.toBe('');
      expect(missing[0]?.todo).toMatch(/\.$/);
    },
  );

  test('[R24] for every set of lacks and waivers: fit exactly if each lack is one that may be waived, and was', () => {
    fc.assert(
      fc.property(
        fc.subarray(lacks.map((_, index) => index)),
        fc.subarray([...names, 'all', 'AppArmor', 'cgroup', 'cgroup-limits ', '*', '']),
        (chosen, waived) => {
          const facts = chosen.reduce((before, index) => lacks[index]?.[1](before) ?? before, good);
          const lacking = new Set(chosen.map((index) => lacks[index]?.[0] ?? ''));
          const report = judgeHost(facts, waived);
          for (const { id, state, waivable: mayBe } of report.guarantees) {
            expect(mayBe).toBe(id === 'apparmor' || id === 'cgroup-limits');
            const given = mayBe && waived.includes(id);
            expect(state).toBe(!lacking.has(id) ? 'held' : given ? 'waived' : 'missing');
          }
          const allowed = [...lacking].every(
            (id) => ['apparmor', 'cgroup-limits'].includes(id) && waived.includes(id),
          );
          expect(report.fit).toBe(allowed);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('[R24] only AppArmor and cgroup limits can be waived', () => {
    expect(waivable).toEqual(['apparmor', 'cgroup-limits']);
  });

  test('a waiver of what is there changes nothing: it is held', () => {
    expect(judgeHost(good, ['apparmor', 'cgroup-limits'])).toEqual(judgeHost(good, []));
  });

  test('[R25] an ordinary user\u2019s disk limit is a watch, and is said so', () => {
    const report = judgeHost({ ...good, uid: 1000, sizedDisk: null }, []);
    expect(report.fit).toBe(true);
    const disk = report.guarantees.find(({ id }) => id === 'disk-limit');
    expect(disk).toMatchObject({ state: 'absent-ok' });
    expect(disk?.detail).toContain('measured every');
  });

  test('an enabled AppArmor without the profile says how to load it; Ubuntu\u2019s restriction is named', () => {
    const unloaded = judgeHost({ ...good, apparmor: { ...good.apparmor, profile: no } }, []);
    expect(unloaded.guarantees.find(({ id }) => id === 'apparmor')?.todo).toContain(
      'apparmor_parser -r deploy/apparmor/glovebox-sandbox',
    );
    const apparmor = { ...good.apparmor, restrictsUserNamespaces: true };
    const restricted = judgeHost({ ...good, uid: 1000, apparmor, sandboxNamespaces: no }, []);
    expect(restricted.guarantees.find(({ id }) => id === 'user-namespaces')?.todo).toContain(
      'apparmor_restrict_unprivileged_userns',
    );
  });
});
