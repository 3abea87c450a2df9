import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GloveboxError, tiers } from '../contracts/index.ts';
import { assertFloor } from './oci-floor.ts';
import { floorSeccomp } from './oci-seccomp.ts';
import { compileOciSpec } from './oci-spec.ts';
import { host, request } from './oci-spec-fixtures.ts';
import type { OciSpec, SpecRequest } from './oci-spec-types.ts';

/** A spec as a stranger sees it. */
type Loose = Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any

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

/** Read off the spec by hand, apart from assertFloor, so that a hole in one is not a hole in both. */
function belowFloor(spec: OciSpec): string[] {
  // Types say what ought to be; this looks at what is.
  const p = spec.process as Loose;
  const problems: string[] = [];
  const must = (holds: boolean, what: string): void => {
    if (!holds) problems.push(what);
  };
  const { linux } = spec;
  must(p.user.uid === 65534 && p.user.gid === 65534, 'uid');
  must(Object.values(spec.process.capabilities).flat().length === 0, 'capabilities');
  must(Object.keys(p.capabilities).length === 5, 'capability sets');
  must(p.noNewPrivileges, 'noNewPrivileges');
  must(p.args.join() === '/opt/glovebox/init', 'args');
  must((spec.root as Loose)['readonly'] === true && spec.root.path !== '/', 'root');
  must(
    ['pid', 'ipc', 'uts', 'mount', 'network', 'user'].every((type) =>
      linux.namespaces.some((n) => n.type === type && !('path' in n)),
    ),
    'namespaces',
  );
  must(
    linux.uidMappings.every((m) => m.size === 1 && !(m.containerID === 0 && m.hostID === 0)),
    'mappings',
  );
  must(linux.seccomp === floorSeccomp, 'seccomp');
  must(
    ['RLIMIT_NPROC', 'RLIMIT_NOFILE', 'RLIMIT_CORE'].every((type) =>
      spec.process.rlimits.some((r) => r.type === type && r.hard === r.soft),
    ),
    'rlimits',
  );
  for (const mount of spec.mounts) {
    const place = mount.destination;
    const open =
      ['/tmp', '/home/agent', '/workspace'].some((p) => place === p || place.startsWith('/workspace/')) ||
      place.startsWith('/folders/');
    if (mount.type === 'bind') must(mount.options.includes('ro') || open, `writable ${place}`);
    must(mount.type !== 'bind' || /^\/[^/]/.test(mount.source), `source ${mount.source}`);
    must(!/^\/(proc|sys|dev|run|var\/run)(\/|$)/.test(mount.source), `host ${mount.source}`);
    must(!['/', '/etc', '/root', '/home', '/var'].includes(mount.source), `wide ${mount.source}`);
    must(!/\/\.\.?(\/|$)/.test(mount.source + mount.destination), `dots ${mount.source}`);
  }
  return problems;
}

const paths = fc.oneof(
  fc.constantFrom(
    ...[
      '/',
      '',
      '.',
      '..',
      '/..',
      '/proc',
      '/proc/1/root',
      '/sys',
      '/dev',
      '/dev/kvm',
      '/run',
      '/run/docker.sock',
      '/var/run',
      '/etc',
    ],
    ...[
      '/root',
      '/home',
      '/srv/u',
      '/srv/u/p',
      '/usr',
      '/usr/../etc',
      '/home//u',
      '/opt/glovebox',
      '/opt/glovebox/init',
      '/tmp',
    ],
    ...[
      '/workspace',
      '/home/agent',
      '/home/agent/.ssh',
      '/lib64',
      '/folders/a',
      '/a\n/b',
      '/a\0b',
      '\ud800',
      'relative/x',
      '/opt',
    ],
  ),
  fc.string().map((text) => `/${text}`),
  fc
    .array(fc.constantFrom('home', 'u', '..', '.', '', 'proc', 'opt', 'x', 'run'), { maxLength: 5 })
    .map((parts) => `/${parts.join('/')}`),
);
const number = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 65534, 0xffff_ffff),
);
const anyTier = fc.record({
  vcpu: number,
  memoryBytes: number,
  diskBytes: number,
  pids: number,
  openFiles: number,
});
const extra = fc.constantFrom(
  'privileged',
  'capabilities',
  'process',
  'uid',
  'seccomp',
  'annotations',
  'linux',
  '__proto__',
  'options',
);
const hostile = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 8, arbitrary: value }, { weight: 1, arbitrary: fc.anything() });

/** Mostly what is right, so that one wrong field at a time reaches the end. */
const mostly = (good: unknown, other: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant<unknown>(good) }, { weight: 1, arbitrary: hostile(other) });
const anyPath = mostly('/srv/u/p', paths);

const anyRequest = fc.record({
  sandboxId: mostly('a'.repeat(26), fc.constantFrom('../../x', '')),
  role: fc.constantFrom('agent', 'provider', 'root'),
  tier: mostly(tiers.pro, anyTier),
  workspace: fc.oneof(
    fc.constant(undefined),
    fc.record({
      source: anyPath,
      masked: fc.array(fc.record({ path: mostly('.env', paths), folder: fc.boolean() }), { maxLength: 2 }),
      readOnly: fc.array(fc.oneof(paths, fc.constantFrom('.git/hooks', 'a/b/c', '..')), { maxLength: 2 }),
    }),
  ),
  toolFolders: mostly([], fc.array(fc.oneof(paths, fc.constant('/srv/u/.nvm')), { maxLength: 2 })),
  toolMasks: mostly([], fc.array(fc.oneof(paths, fc.constant('/srv/u/.nvm/credentials')), { maxLength: 2 })),
  folders: fc.array(
    fc.record({
      name: mostly('docs', fc.string()),
      source: anyPath,
      writable: mostly(true, fc.anything()),
    }),
    { maxLength: 1 },
  ),
  program: mostly(undefined, paths),
});
const anyHost = fc.record({
  root: mostly(host.root, paths),
  view: mostly(host.view, fc.array(paths, { maxLength: 4 })),
  etc: fc.constant(host.etc),
  caBundle: fc.constant(host.caBundle),
  init: fc.constant(host.init),
  emptyFile: fc.constant(host.emptyFile),
  emptyFolder: fc.constant(host.emptyFolder),
  tmp: mostly(host.tmp, fc.record({ source: fc.constant('/s/tmp'), bytes: number })),
  home: fc.constant(host.home),
  ids: mostly(
    host.ids,
    fc.oneof(
      fc.constant({ kind: 'rootless' }),
      fc.record({
        kind: fc.constant('root'),
        runscUid: number,
        owner: fc.record({ uid: number, gid: number }),
      }),
    ),
  ),
});

describe('the compiled spec', () => {
  test('[R23] an ordinary request compiles, as root and rootless, agent and provider, and passes the second guard', () => {
    for (const ids of [host.ids, { kind: 'rootless' } as const]) {
      const spec = compileOciSpec(request, { ...host, ids });
      assertFloor(JSON.parse(JSON.stringify(spec)), 'agent');
      expect(belowFloor(spec)).toEqual([]);
    }
    const { workspace: _, ...rest } = request;
    const folders = [
      { name: 'docs', source: '/srv/u/docs', writable: false },
      { name: 'out', source: '/srv/u/out', writable: true },
    ];
    const program = '/install/dist/provider-files.js';
    const provider = compileOciSpec({ ...rest, role: 'provider', folders, program }, host);
    expect(belowFloor(provider)).toEqual([]);
    expect(provider.mounts.find(({ source }) => source === program)).toMatchObject({
      destination: '/opt/glovebox/provider.mjs',
      options: ['rbind', 'ro', 'nosuid', 'nodev'],
    });
    assertFloor(JSON.parse(JSON.stringify(provider)), 'provider');
    expect(provider.mounts.find(({ destination }) => destination === '/folders/docs')?.options).toContain(
      'ro',
    );
    expect(provider.mounts.find(({ destination }) => destination === '/folders/out')?.options).toContain(
      'rw',
    );
  });

  test('[R24] no input of any shape lowers the floor', () => {
    let compiled = 0;
    fc.assert(
      fc.property(anyRequest, anyHost, extra, fc.anything(), (hostileRequest, hostileHost, key, value) => {
        const spiced = { ...hostileRequest, [key]: value };
        let spec: OciSpec;
        try {
          spec = compileOciSpec(spiced as never, hostileHost as never);
        } catch {
          return; // refused, in whatever way: no spec, no sandbox
        }
        compiled += 1;
        expect(belowFloor(spec)).toEqual([]);
        assertFloor(JSON.parse(JSON.stringify(spec)), hostileRequest.role as 'agent');
      }),
      { numRuns: 3000 },
    );
    expect(compiled).toBeGreaterThan(20);
  });

  test('[R48] a closed path cannot be moved aside: each folder above it is a mount of its own', () => {
    const workspace = {
      source: '/srv/u/p',
      masked: [{ path: '.env', folder: false }],
      readOnly: ['.git/hooks', 'a/b/c'],
    };
    const places = compileOciSpec({ ...request, workspace }, host)
      .mounts.filter(({ destination }) => destination.startsWith('/workspace/'))
      .map(({ destination, options }) => `${destination} ${options[1]}`);
    expect(places.sort()).toEqual([
      '/workspace/.env ro',
      '/workspace/.git rw',
      '/workspace/.git/hooks ro',
      '/workspace/a rw',
      '/workspace/a/b rw',
      '/workspace/a/b/c ro',
    ]);
  });

  test('[R23] a file of a tool folder that holds credentials is empty inside', () => {
    const spec = compileOciSpec({ ...request, toolMasks: ['/srv/u/.nvm/bin/auth.json'] }, host);
    assertFloor(JSON.parse(JSON.stringify(spec)), 'agent');
    expect(spec.mounts).toContainEqual({
      destination: '/srv/u/.nvm/bin/auth.json',
      type: 'bind',
      source: host.emptyFile,
      options: ['rbind', 'ro', 'nosuid', 'nodev'],
    });
    // The second lock knows nothing else that lies over a tool.
    const mask = spec.mounts.find(({ source }) => source === host.emptyFile);
    for (const other of [{ source: '/srv/u/evil' }, { options: ['rbind', 'rw', 'nosuid', 'nodev'] }]) {
      const mounts = spec.mounts.map((mount) => (mount === mask ? { ...mount, ...other } : mount));
      refused(() => assertFloor(JSON.parse(JSON.stringify({ ...spec, mounts })), 'agent'));
    }
  });

  test.each<[string, Partial<SpecRequest>]>([
    ['a tool folder over the workspace', { toolFolders: ['/workspace/x'] }],
    ['a tool folder above a home', { toolFolders: ['/home'] }],
    ['a mask outside of the tool folders', { toolMasks: ['/srv/u/.ssh/id'] }],
    ['a mask of a whole tool folder', { toolMasks: ['/srv/u/.nvm'] }],
    ['a mask that leads out of a tool folder', { toolMasks: ['/srv/u/.nvm/../x'] }],
    ['the user\u2019s runtime folder', { toolFolders: ['/run/user/1000'] }],
    ['a tool folder twice', { toolFolders: ['/a/b', '/a/b'] }],
    ['the whole home as a workspace', { workspace: { source: '/root', masked: [], readOnly: [] } }],
    [
      'an agent with a provider\u2019s folders',
      { folders: [{ name: 'x', source: '/srv/u/x', writable: true }] },
    ],
    ['an agent with a provider\u2019s program', { program: '/install/dist/provider-files.js' }],
    [
      'a program of a provider that is no plain path',
      { role: 'provider', workspace: undefined, program: '/install/../etc/shadow' } as never,
    ],
    ['a way out of the workspace', { workspace: { source: '/srv/u/p', masked: [], readOnly: ['../q'] } }],
    ['a provider with a workspace', { role: 'provider' }],
  ])('[R24] refused: %s', (_, change) => refused(() => compileOciSpec({ ...request, ...change }, host)));
});

describe('the filter', () => {
  const names = floorSeccomp.syscalls.flatMap((rule) => rule.names);

  test('[R23] denies by default, and is smaller than a runtime\u2019s default', () => {
    expect(floorSeccomp.defaultAction).toBe('SCMP_ACT_ERRNO');
    // What runtimes allow every process, and this does not.
    for (const name of [
      'ptrace',
      'process_vm_readv',
      'process_vm_writev',
      'io_uring_setup',
      'memfd_secret',
      'name_to_handle_at',
    ])
      expect(names).not.toContain(name);
    // What runtimes allow only with a capability.
    for (const name of [
      'mount',
      'umount2',
      'bpf',
      'perf_event_open',
      'keyctl',
      'add_key',
      'request_key',
      'kexec_load',
      'init_module',
      'chroot',
      'pivot_root',
      'open_by_handle_at',
      'userfaultfd',
      'kcmp',
      'pidfd_getfd',
      'move_mount',
      'open_tree',
      'fsopen',
      'syslog',
      'reboot',
      'swapon',
      'iopl',
      'settimeofday',
      'quotactl',
      'acct',
    ])
      expect(names).not.toContain(name);
    expect(new Set(names).size).toBe(names.length - 1); // personality has two rules
  });

  test('[R23] a new user namespace is impossible by any call', () => {
    for (const name of ['unshare', 'setns', 'clone3']) expect(names).not.toContain(name);
    const clone = floorSeccomp.syscalls.filter((rule) => rule.names.includes('clone'));
    const newUser = 0x10000000;
    expect(clone).toHaveLength(1);
    expect(clone[0]?.args?.[0]).toMatchObject({ index: 0, op: 'SCMP_CMP_MASKED_EQ', valueTwo: 0 });
    expect((clone[0]?.args?.[0]?.value ?? 0) & newUser).toBe(newUser);
  });
});
