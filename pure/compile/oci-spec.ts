import { GloveboxError, isId, type Tier } from '../contracts/index.ts';
import { floorSeccomp } from './oci-seccomp.ts';
import { isHostFolder, isPlainPath, isPlainRelative, isToolFolder, isViewFolder } from './oci-spec-paths.ts';
import {
  agentUid,
  caBundlePath,
  foldersPath,
  homePath,
  homeSeedPath,
  initPath,
  providerPath,
  sharedMemoryBytes,
  workspacePath,
  type OciIdMapping,
  type OciMount,
  type OciSpec,
  type SpecDisk,
  type SpecHost,
  type SpecIds,
  type SpecRequest,
  type SpecWorkspace,
} from './oci-spec-types.ts';

/**
 * The OCI spec of a sandbox. What is the floor (DESIGN, invariant 10) is written here as constants; the request can
 * only add mounts from the closed list of its role and choose sizes. Anything that does not fit is refused [R24].
 */
export function compileOciSpec(request: SpecRequest, host: SpecHost): OciSpec {
  check(isId(String(request.sandboxId)), 'sandbox id');
  const role: string = request.role;
  check(role === 'agent' || role === 'provider', 'role');
  checkTier(request.tier);
  const mounts = [
    ...kernelMounts,
    ...viewMounts(host),
    ...diskMounts(host),
    ...request.toolFolders.map(toolMount),
    ...request.toolMasks.map((path) => toolMask(path, request.toolFolders, host)),
    ...(role === 'agent' ? workspaceMounts(request.workspace, host) : []),
    ...(role === 'provider' ? request.folders.map(folderMount) : []),
    ...(role === 'provider' ? programMounts(request.program) : []),
  ];
  if (role === 'agent')
    check(request.folders.length === 0 && request.program === undefined, 'folders or a program of an agent');
  else check(request.workspace === undefined, 'workspace of a provider');
  unique(mounts.map((mount) => mount.destination));
  return {
    ociVersion: '1.1.0',
    process: {
      terminal: false,
      user: { uid: agentUid, gid: agentUid },
      args: [initPath],
      env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        `HOME=${homePath}`,
        'GOMAXPROCS=2',
      ],
      cwd: '/',
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      rlimits: [
        { type: 'RLIMIT_NPROC', hard: request.tier.pids, soft: request.tier.pids },
        { type: 'RLIMIT_NOFILE', hard: request.tier.openFiles, soft: request.tier.openFiles },
        { type: 'RLIMIT_CORE', hard: 0, soft: 0 },
      ],
      noNewPrivileges: true,
    },
    root: { path: plain(host.root, 'root'), readonly: true },
    hostname: 'glovebox',
    mounts,
    linux: {
      namespaces: [
        { type: 'pid' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'mount' },
        { type: 'network' },
        { type: 'user' },
      ],
      uidMappings: mappings(host.ids, 'uid'),
      gidMappings: mappings(host.ids, 'gid'),
      seccomp: floorSeccomp,
      ...(host.cgroup === undefined ? {} : { cgroupsPath: plain(host.cgroup, 'cgroup') }),
    },
    annotations: {
      ...diskAnnotations('tmp', host.tmp, '1777'),
      ...diskAnnotations('home', host.home, '0755'),
    },
  };
}

const fixed = ['nosuid', 'nodev'] as const;
const readOnly = ['rbind', 'ro', ...fixed] as const;
const writable = ['rbind', 'rw', ...fixed] as const;

/** gVisor makes its own /proc, /dev and /sys: none of these is the host's. */
const kernelMounts: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'tmpfs',
    options: [...fixed, 'noexec', 'mode=1777', `size=${sharedMemoryBytes}`],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];

const bind = (destination: string, source: string, options: readonly string[]): OciMount => ({
  destination,
  type: 'bind',
  source,
  options,
});

function viewMounts(host: SpecHost): OciMount[] {
  for (const folder of host.view) check(isViewFolder(folder), 'host view');
  return [
    ...host.view.map((folder) => bind(folder, folder, readOnly)),
    ...(host.etc === undefined ? [] : [bind('/etc', plain(host.etc, 'etc'), readOnly)]),
    bind(caBundlePath, plain(host.caBundle, 'certificate bundle'), readOnly),
    bind(initPath, plain(host.init, 'init'), readOnly),
    ...(host.homeSeed === undefined ? [] : [bind(homeSeedPath, plain(host.homeSeed, 'home'), readOnly)]),
  ];
}

const diskMounts = (host: SpecHost): OciMount[] => [
  bind('/tmp', plain(host.tmp.source, 'tmp'), writable),
  bind(homePath, plain(host.home.source, 'home'), writable),
];

/** Disk-backed and sized: a tmpfs proper would count as memory, a plain folder would have no end [R25]. */
function diskAnnotations(name: 'tmp' | 'home', disk: SpecDisk, mode: string): Record<string, string> {
  check(Number.isSafeInteger(disk.bytes) && disk.bytes > 0, `size of ${name}`);
  const prefix = `dev.gvisor.spec.mount.${name}`;
  return {
    [`${prefix}.source`]: disk.source,
    [`${prefix}.type`]: 'tmpfs',
    [`${prefix}.share`]: 'container',
    [`${prefix}.options`]: `rw,nosuid,nodev,mode=${mode},uid=${agentUid},gid=${agentUid},size=${disk.bytes}`,
  };
}

function toolMount(folder: string): OciMount {
  check(isToolFolder(folder), 'tool folder');
  return bind(folder, folder, readOnly);
}

function toolMask(path: string, folders: readonly string[], host: SpecHost): OciMount {
  check(
    isPlainPath(path) && folders.some((folder) => path.startsWith(`${folder}/`)),
    'mask of a tool folder',
  );
  return bind(path, host.emptyFile, readOnly);
}

function folderMount(folder: SpecRequest['folders'][number]): OciMount {
  check(/^[a-z0-9][a-z0-9._-]{0,63}$/.test(folder.name) && isHostFolder(folder.source), 'folder');
  return bind(`${foldersPath}/${folder.name}`, folder.source, folder.writable === true ? writable : readOnly);
}

function programMounts(program: string | undefined): OciMount[] {
  if (program === undefined) return [];
  check(isHostFolder(program), 'program');
  return [bind(providerPath, program, readOnly)];
}

/**
 * A read-only or empty mount inside a writable folder can be moved aside by renaming a folder above it; a mount point
 * cannot be renamed. So each folder between the workspace and such a mount becomes a mount of its own.
 */
function workspaceMounts(workspace: SpecWorkspace | undefined, host: SpecHost): OciMount[] {
  if (workspace === undefined) return [];
  check(isHostFolder(workspace.source), 'workspace');
  const masked = workspace.masked.map(({ path }) => path);
  for (const path of [...masked, ...workspace.readOnly])
    check(isPlainRelative(path), 'path in the workspace');
  const closed = [...new Set([...masked, ...workspace.readOnly])];
  const outer = closed.filter(
    (path) => !closed.some((other) => other !== path && path.startsWith(`${other}/`)),
  );
  const pins = [...new Set(outer.flatMap(foldersAbove))].filter((path) => !outer.includes(path));
  const empty = new Map(
    workspace.masked.map(({ path, folder }) => [path, folder ? host.emptyFolder : host.emptyFile]),
  );
  const inside = [...pins, ...outer].sort((a, b) => a.split('/').length - b.split('/').length);
  return [
    bind(workspacePath, workspace.source, writable),
    ...inside.map((path) =>
      bind(
        `${workspacePath}/${path}`,
        empty.get(path) ?? `${workspace.source}/${path}`,
        pins.includes(path) ? writable : readOnly,
      ),
    ),
    // A masked path below a read-only folder is still masked.
    ...workspace.masked
      .filter(({ path }) => !outer.includes(path) && !masked.some((other) => path.startsWith(`${other}/`)))
      .map(({ path }) => bind(`${workspacePath}/${path}`, empty.get(path) ?? host.emptyFile, readOnly)),
  ];
}

const foldersAbove = (path: string): string[] =>
  path
    .split('/')
    .slice(0, -1)
    .map((_, index, parts) => parts.slice(0, index + 1).join('/'));

function mappings(ids: SpecIds, which: 'uid' | 'gid'): OciIdMapping[] {
  if (ids.kind === 'rootless') return [{ containerID: agentUid, hostID: agentUid, size: 1 }];
  const owner = ids.owner[which];
  check(isHostId(ids.runscUid) && ids.runscUid >= privateIds.first, 'private user id');
  check(isHostId(owner) && owner !== ids.runscUid, 'owner of the workspace');
  return [
    { containerID: 0, hostID: ids.runscUid, size: 1 },
    { containerID: agentUid, hostID: owner, size: 1 },
  ];
}

/** Host user ids that nobody has: above every distribution's ranges for people, services and /etc/subuid. */
export const privateIds = { first: 0x6000_0000, last: 0x7fff_0000 } as const;
const isHostId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < 0xffff_fffe;

function checkTier(tier: Tier): void {
  for (const key of ['pids', 'openFiles', 'diskBytes', 'memoryBytes'] as const)
    check(Number.isSafeInteger(tier[key]) && tier[key] > 0, `tier.${key}`);
  check(tier.pids <= 65_536 && tier.openFiles <= 1_048_576, 'tier');
}

function unique(destinations: readonly string[]): void {
  check(new Set(destinations).size === destinations.length, 'mounts: two have one place');
}

function plain(path: string, what: string): string {
  check(isPlainPath(path) && path !== '/', what);
  return path;
}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new GloveboxError('GB_SPEC_REFUSED', { detail: `${what} does not fit the closed list` });
}
