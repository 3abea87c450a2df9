import { z } from 'zod';
import { GloveboxError } from '../contracts/index.ts';
import { floorSeccomp } from './oci-seccomp.ts';
import { isHostFolder, isPlainPath, isToolFolder, isViewFolder } from './oci-spec-paths.ts';

/**
 * The second lock [R24]: reads a finished spec as if a stranger had written it, and refuses all that it does not know.
 * It shares no code with the compiler but the filter's text and the path rules.
 */
export function assertFloor(spec: unknown, role: 'agent' | 'provider'): void {
  const read = floor.safeParse(spec);
  if (!read.success) {
    const issue = read.error.issues[0];
    refuse(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`);
  }
  const { mounts, annotations, linux } = read.data;
  if (JSON.stringify(linux.seccomp) !== JSON.stringify(floorSeccomp))
    refuse('linux.seccomp is another filter');
  const types = linux.namespaces.map((namespace) => namespace.type).sort();
  if (types.join() !== 'ipc,mount,network,pid,user,uts') refuse('linux.namespaces');
  for (const ids of [linux.uidMappings, linux.gidMappings]) assertIds(ids);
  const seen = new Set<string>();
  const workspace = mounts.find((mount) => mount.destination === '/workspace')?.source;
  const tools = mounts
    .filter(({ source, destination }) => source === destination)
    .map(({ source }) => source);
  for (const mount of mounts) {
    if (seen.has(mount.destination)) refuse(`two mounts at ${mount.destination}`);
    seen.add(mount.destination);
    if (!isKnownMount(mount, role, workspace) && !isToolMask(mount, tools))
      refuse(`a mount at ${mount.destination}`);
  }
  for (const name of ['tmp', 'home'] as const) assertDisk(name, annotations, mounts);
  if (Object.keys(annotations).length !== 8) refuse('annotations');
}

const none = z.array(z.never()).length(0);
const id = z.int().min(0).max(0xffff_fffd);
const mapping = z
  .array(z.strictObject({ containerID: id, hostID: id, size: z.literal(1) }))
  .min(1)
  .max(2);
const path = z.string().refine(isPlainPath);
const mountSchema = z.strictObject({
  destination: path,
  type: z.string(),
  source: z.string(),
  options: z.array(z.string()),
});
type Mount = z.infer<typeof mountSchema>;
const rlimit = (type: string, max: number): z.ZodType =>
  z
    .strictObject({ type: z.literal(type), hard: z.int().min(0).max(max), soft: z.int().min(0).max(max) })
    .refine((value) => value.hard === value.soft);

const floor = z.strictObject({
  ociVersion: z.literal('1.1.0'),
  process: z.strictObject({
    terminal: z.literal(false),
    user: z.strictObject({ uid: z.literal(65534), gid: z.literal(65534) }),
    args: z.tuple([z.literal('/opt/glovebox/init')]),
    env: z.array(z.string().regex(/^(PATH|HOME|GOMAXPROCS)=[A-Za-z0-9:/]*$/)).max(3),
    cwd: z.literal('/'),
    capabilities: z.strictObject({
      bounding: none,
      effective: none,
      inheritable: none,
      permitted: none,
      ambient: none,
    }),
    rlimits: z.tuple([
      rlimit('RLIMIT_NPROC', 65_536),
      rlimit('RLIMIT_NOFILE', 1_048_576),
      rlimit('RLIMIT_CORE', 0),
    ]),
    noNewPrivileges: z.literal(true),
  }),
  root: z.strictObject({ path: path.refine((value) => value !== '/'), readonly: z.literal(true) }),
  hostname: z.literal('glovebox'),
  mounts: z.array(mountSchema).max(4096),
  linux: z.strictObject({
    namespaces: z.array(z.strictObject({ type: z.string() })),
    uidMappings: mapping,
    gidMappings: mapping,
    seccomp: z.unknown(),
    cgroupsPath: path.optional(),
  }),
  annotations: z.record(z.string(), z.string()),
});

/** Either the one id of a rootless sandbox, or a private id for runsc and the owner for the agent. */
function assertIds(ids: readonly { containerID: number; hostID: number }[]): void {
  const [first, second] = ids;
  if (ids.length === 1 && first?.containerID === 65534 && first.hostID === 65534) return;
  const isPrivate = first?.containerID === 0 && first.hostID >= 0x6000_0000;
  if (!isPrivate || second?.containerID !== 65534 || second.hostID === first.hostID) refuse('id mappings');
}

const kernel: Readonly<Record<string, string>> = {
  '/proc': 'proc proc nosuid,noexec,nodev',
  '/dev': 'tmpfs tmpfs nosuid,mode=755',
  '/dev/pts': 'devpts devpts nosuid,noexec',
  '/dev/shm': 'tmpfs tmpfs nosuid,nodev,noexec,mode=1777,size=67108864',
  '/sys': 'sysfs sysfs nosuid,noexec,nodev,ro',
};
const ro = 'rbind,ro,nosuid,nodev';
const rw = 'rbind,rw,nosuid,nodev';

function isKnownMount(mount: Mount, role: 'agent' | 'provider', workspace: string | undefined): boolean {
  const { destination, type, source } = mount;
  const options = mount.options.join();
  const kernelMount = kernel[destination];
  if (kernelMount !== undefined) return `${type} ${source} ${options}` === kernelMount;
  if (type !== 'bind' || !isPlainPath(source) || source === '/') return false;
  if (options !== ro && options !== rw) return false;
  switch (destination) {
    case '/tmp':
    case '/home/agent':
      return options === rw;
    case '/etc':
      return options === ro && source !== '/etc';
    case '/etc/ssl/certs/ca-certificates.crt':
    case '/opt/glovebox/init':
    case '/opt/glovebox/home':
      return options === ro;
    case '/opt/glovebox/provider.mjs':
      return role === 'provider' && options === ro && isHostFolder(source);
    case '/workspace':
      return role === 'agent' && isHostFolder(source);
  }
  if (destination.startsWith('/workspace/')) {
    if (role !== 'agent' || workspace === undefined) return false;
    return options === ro || source === workspace + destination.slice('/workspace'.length);
  }
  if (/^\/folders\/[a-z0-9][a-z0-9._-]{0,63}$/.test(destination))
    return role === 'provider' && isHostFolder(source);
  return options === ro && source === destination && (isViewFolder(source) || isToolFolder(source));
}

/** Nothing but an empty file, over a file of a folder that is shown read-only under its own path. */
const isToolMask = ({ destination, type, source, options }: Mount, tools: readonly string[]): boolean =>
  type === 'bind' &&
  options.join() === ro &&
  source.endsWith('/empty-file') &&
  isToolFolder(destination) &&
  tools.some((folder) => isToolFolder(folder) && destination.startsWith(`${folder}/`));

function assertDisk(
  name: 'tmp' | 'home',
  annotations: Record<string, string>,
  mounts: readonly Mount[],
): void {
  const value = (key: string): string => annotations[`dev.gvisor.spec.mount.${name}.${key}`] ?? '';
  const mount = mounts.find(({ destination }) => destination === (name === 'tmp' ? '/tmp' : '/home/agent'));
  const options = /^rw,nosuid,nodev,mode=(1777|0755),uid=65534,gid=65534,size=[1-9][0-9]{0,15}$/;
  const sized = options.test(value('options')) && value('type') === 'tmpfs' && value('share') === 'container';
  if (!sized || mount === undefined || mount.source !== value('source')) refuse(`the disk of ${name}`);
}

function refuse(detail: string): never {
  throw new GloveboxError('GB_SPEC_REFUSED', { detail });
}
