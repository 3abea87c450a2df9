import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GloveboxError } from '../contracts/index.ts';
import { assertFloor } from './oci-floor.ts';
import { compileOciSpec } from './oci-spec.ts';
import { host, request } from './oci-spec-fixtures.ts';

const refused = (make: () => unknown): void => {
  let thrown: unknown;
  try {
    make();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(GloveboxError);
  expect((thrown as GloveboxError).code).toBe('GB_SPEC_REFUSED');
};

describe('the second guard', () => {
  type Loose = Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any
  const loose = (): Loose => JSON.parse(JSON.stringify(compileOciSpec(request, host))) as Loose;
  const weakenings: [string, (spec: Loose) => void][] = [
    ['root', (s) => (s['process'].user.uid = 0)],
    ['a supplementary group', (s) => (s['process'].user.additionalGids = [0])],
    ['a capability', (s) => s['process'].capabilities.effective.push('CAP_SYS_ADMIN')],
    ['an ambient set left out', (s) => delete s['process'].capabilities.ambient],
    ['new privileges', (s) => (s['process'].noNewPrivileges = false)],
    ['another program', (s) => (s['process'].args = ['/bin/sh'])],
    ['an environment with more', (s) => s['process'].env.push('LD_PRELOAD=/workspace/x.so')],
    ['core dumps', (s) => (s['process'].rlimits[2].soft = 1)],
    ['no process limit', (s) => s['process'].rlimits.shift()],
    ['a writable root', (s) => (s['root'].readonly = false)],
    ['the host\u2019s root', (s) => (s['root'].path = '/')],
    ['no filter', (s) => delete s['linux'].seccomp],
    ['one more system call', (s) => s['linux'].seccomp.syscalls[0].names.push('mount')],
    ['allow by default', (s) => (s['linux'].seccomp.defaultAction = 'SCMP_ACT_ALLOW')],
    [
      'the host\u2019s network',
      (s) => (s['linux'].namespaces = s['linux'].namespaces.filter((n: Loose) => n['type'] !== 'network')),
    ],
    ['a namespace of another', (s) => (s['linux'].namespaces[4].path = '/proc/1/ns/net')],
    ['host root as runsc\u2019s user', (s) => (s['linux'].uidMappings[0].hostID = 0)],
    ['a range of users', (s) => (s['linux'].uidMappings[0].size = 65536)],
    ['a device', (s) => (s['linux'].devices = [{ path: '/dev/kvm' }])],
    ['a hook', (s) => (s['hooks'] = { prestart: [{ path: '/bin/sh' }] })],
    ['a runsc flag', (s) => (s['annotations']['dev.gvisor.flag.network'] = 'host')],
    ['a disk without a size', (s) => (s['annotations']['dev.gvisor.spec.mount.tmp.options'] = 'rw')],
    [
      'another mount',
      (s) =>
        s['mounts'].push({
          destination: '/host',
          type: 'bind',
          source: '/',
          options: ['rbind', 'ro', 'nosuid', 'nodev'],
        }),
    ],
    [
      'a host socket',
      (s) =>
        s['mounts'].push({
          destination: '/run/docker.sock',
          type: 'bind',
          source: '/run/docker.sock',
          options: ['rbind', 'ro', 'nosuid', 'nodev'],
        }),
    ],
    [
      'a writable /usr',
      (s) => (s['mounts'].find((m: Loose) => m['destination'] === '/usr').options[1] = 'rw'),
    ],
    [
      'the host\u2019s /etc',
      (s) => (s['mounts'].find((m: Loose) => m['destination'] === '/etc').source = '/etc'),
    ],
    [
      '/proc from the host',
      (s) =>
        (s['mounts'][0] = {
          destination: '/proc',
          type: 'bind',
          source: '/proc',
          options: ['rbind', 'ro', 'nosuid', 'nodev'],
        }),
    ],
    [
      'a workspace from elsewhere',
      (s) => (s['mounts'].find((m: Loose) => m['destination'] === '/workspace').source = '/var/run'),
    ],
    [
      'a writable mount in the workspace from elsewhere',
      (s) =>
        s['mounts'].push({
          destination: '/workspace/x',
          type: 'bind',
          source: '/srv/u/.ssh',
          options: ['rbind', 'rw', 'nosuid', 'nodev'],
        }),
    ],
    ['two mounts at one place', (s) => s['mounts'].push(s['mounts'][0])],
    [
      'a provider\u2019s program',
      (s) =>
        s['mounts'].push({
          destination: '/opt/glovebox/provider.mjs',
          type: 'bind',
          source: '/install/dist/provider-files.js',
          options: ['rbind', 'ro', 'nosuid', 'nodev'],
        }),
    ],
    [
      'a provider\u2019s folder',
      (s) =>
        s['mounts'].push({
          destination: '/folders/x',
          type: 'bind',
          source: '/srv/u/x',
          options: ['rbind', 'rw', 'nosuid', 'nodev'],
        }),
    ],
  ];

  test('control: the untouched spec passes', () => expect(() => assertFloor(loose(), 'agent')).not.toThrow());
  test.each(weakenings)('[R24] refuses %s', (_, weaken) => {
    const spec = loose();
    weaken(spec);
    refused(() => assertFloor(spec, 'agent'));
  });
  test('[R24] a provider\u2019s program is read-only; control: as compiled it passes', () => {
    const { workspace: _, ...rest } = request;
    const provider = { ...rest, role: 'provider', program: '/install/dist/provider-files.js' } as const;
    const spec = JSON.parse(JSON.stringify(compileOciSpec(provider, host))) as Loose;
    expect(() => assertFloor(spec, 'provider')).not.toThrow();
    spec['mounts'].find((m: Loose) => m['destination'] === '/opt/glovebox/provider.mjs').options[1] = 'rw';
    refused(() => assertFloor(spec, 'provider'));
  });
  test('[R24] refuses everything that is no spec', () => {
    fc.assert(fc.property(fc.anything(), (value) => refused(() => assertFloor(value, 'agent'))));
  });
});
