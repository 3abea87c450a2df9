import type { Writable } from 'node:stream';
import { spawn, type ChildProcess } from 'node:child_process';
import { profileName } from '../../../pure/host/index.ts';
import { hostEnvironment } from './run-command.ts';
import type { GvisorSettings, RunFolder } from './settings.ts';

export interface Launch {
  readonly run: RunFolder;
  readonly sandboxId: string;
  readonly asRoot: boolean;
  /** `exclusive`: nobody else writes the mounts meanwhile. */
  readonly fileAccess: 'exclusive' | 'shared';
  /** An unpacked image: the root file system, below the run's own mount points. */
  readonly image?: string;
  readonly staged?: { readonly project: string; readonly changes: string; readonly hidden: boolean };
  /** `cgroup.procs` files that the sandbox's process joins first. */
  readonly joinCgroups: readonly string[];
  readonly dentries: number;
}

/**
 * One chain of execs, one process: setpriv → unshare → sh → runsc. The small script holds no value: folders come as
 * arguments, and the mount options name open descriptors, so that a comma or a colon in a project's path is never read
 * as an option.
 *
 * index, metacopy and redirects stay off: the upper folder then
 * holds whole files under their own names, which is what diff and apply read, and a crafted xattr redirects nothing
 * (`nofollow`, since `off` follows what is there already, and is refused beside userxattr).
 * The parent is compared before anything is mounted: the death signal is not sent for a parent that died before.
 */
/**
 * As root, runsc's own processes have a host user that nobody is, and the state folder is closed to that: they reach the
 * root file system here, in the sandbox's own mount namespace. All other sources runsc itself opens for them.
 */
export const rootPlace = '/run/glovebox/root';

/** Exit status of the script when one of its own steps fails: above what a command may end with by itself. */
export const launchFailed = 125;

const script = `
set -eu
trap 'exit ${launchFailed}' EXIT
parent=$1 run=$2 place=$3 project=$4 changes=$5 overlay=$6 image=$7; shift 7
[ "$PPID" = "$parent" ]
while [ "$1" != -- ]; do echo 0 > "$1"; shift; done
shift
cd "$run"
if [ -n "$image" ]; then
  exec 9< "$image"
  mount -t overlay -o ro,lowerdir=root:/proc/self/fd/9,redirect_dir=nofollow,metacopy=off,index=off overlay "$place"
  exec 9<&-
elif [ -n "$place" ]; then mount --bind root "$place"; fi
if [ -n "$overlay" ]; then
  exec 7< "$project" 8< "$changes"
  mount -t overlay -o "$overlay" overlay merged
  exec 7<&- 8<&-
fi
exec "$@"
`;

export function launch(settings: GvisorSettings, request: Launch): ChildProcess {
  const overlay = request.staged === undefined ? '' : overlayOptions(request.staged.hidden, request.asRoot);
  const { run } = request;
  return spawn(
    'setpriv',
    [
      ...[
        '--pdeathsig',
        'KILL',
        '--',
        'unshare',
        ...sandboxNamespaces(request.asRoot),
        '--',
        'sh',
        '-c',
        script,
        'sh',
      ],
      ...[
        String(process.pid),
        run.path,
        request.asRoot ? rootPlace : request.image === undefined ? '' : 'root',
        request.staged?.project ?? '',
        request.staged?.changes ?? '',
        overlay,
        request.image ?? '',
      ],
      ...[...request.joinCgroups, '--', ...confined(settings), settings.runsc],
      ...runscFlags(settings, request),
      ...['run', `--bundle=${run.path}`, '--pass-fd=3:3', request.sandboxId],
    ],
    // The environment of runsc is nobody's business inside, but a host variable could change what runsc does.
    { cwd: '/', env: hostEnvironment, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: false },
  );
}

/** The user becomes uid 65534 of a new user namespace, with the capabilities to mount in it; runsc drops them. */
export const sandboxNamespaces = (asRoot: boolean): readonly string[] =>
  asRoot ? ['-m'] : ['-U', '--map-user=65534', '--map-group=65534', '--keep-caps', '-m'];

/** runsc ignores the profile that a spec names, so it is started under it. After the mounts: they need no profile [R23]. */
export const confined = (settings: Pick<GvisorSettings, 'apparmor'>): readonly string[] =>
  settings.apparmor === true ? ['aa-exec', '-p', profileName, '--'] : [];

function runscFlags(settings: GvisorSettings, request: Launch): string[] {
  return [
    `--root=${request.run.state}`,
    `--log=${request.run.log}`,
    `--platform=${settings.platform}`,
    // No interface but loopback, and no socket file of any mount [R13].
    '--network=none',
    '--host-uds=none',
    '--host-fifo=none',
    // Without it runsc ignores the spec's filter [R23].
    '--oci-seccomp',
    '--overlay2=none',
    `--file-access-mounts=${request.fileAccess}`,
    `--dcache=${request.dentries}`,
    // The driver makes, sets and reads the cgroups itself: one way for v1, v2, root and delegated.
    '--ignore-cgroups',
    ...(request.asRoot ? [] : ['--rootless']),
  ];
}

export function overlayOptions(hidden: boolean, asRoot: boolean): string {
  const lower = hidden ? 'hide:/proc/self/fd/7' : '/proc/self/fd/7';
  const fixed =
    'upperdir=/proc/self/fd/8/upper,workdir=/proc/self/fd/8/work,redirect_dir=nofollow,metacopy=off,index=off';
  return `lowerdir=${lower},${fixed}${asRoot ? '' : ',userxattr'}`;
}

/** The last bytes of what runsc and init say outside the link, for an error message. */
export function keepTail(
  streams: readonly (Writable | NodeJS.ReadableStream | null)[],
  bytes: number,
): () => string {
  let kept = Buffer.alloc(0);
  for (const stream of streams)
    if (stream !== null && 'on' in stream)
      stream.on('data', (chunk: Buffer) => {
        kept = Buffer.concat([kept, chunk]).subarray(-bytes);
      });
  return () => kept.toString('utf8');
}
