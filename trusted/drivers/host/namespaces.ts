import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attempt, HostFacts, NeededTool } from '../../../pure/host/index.ts';
import { overlayOptions, sandboxNamespaces } from '../gvisor/launch.ts';
import { jailNamespaces } from '../jail/index.ts';
import { attempt, fails, works } from './attempt.ts';

type Found = Pick<
  HostFacts,
  'userNamespaces' | 'sandboxNamespaces' | 'jailNamespaces' | 'overlay' | 'sizedDisk' | 'tools'
>;

/** Made in namespaces of their own, which take their mounts with them. The tries use the driver's own flags and options. */
export async function tryNamespaces(folder: string, asRoot: boolean): Promise<Found> {
  const place = await mkdtemp(join(folder, `probe-${process.pid}-mounts-`));
  try {
    const [user, sandbox, jail, mounts, tools] = await Promise.all([
      attempt('unshare', ['-U', 'true']),
      trySandboxNamespaces(asRoot),
      tryJail(place, asRoot),
      tryMounts(place, asRoot),
      findTools(),
    ]);
    return {
      userNamespaces: user.attempt,
      sandboxNamespaces: sandbox,
      jailNamespaces: jail,
      ...mounts,
      tools,
    };
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

async function trySandboxNamespaces(asRoot: boolean): Promise<Attempt> {
  const chain = ['--pdeathsig', 'KILL', '--', 'unshare', ...sandboxNamespaces(asRoot), '--', 'id', '-u'];
  const { attempt: tried, output } = await attempt('setpriv', chain);
  if (!tried.works) return tried;
  const expected = asRoot ? '0' : '65534';
  return output.trim() === expected ? works : fails(`the uid inside is ${output.trim()}, not ${expected}`);
}

async function tryJail(place: string, asRoot: boolean): Promise<Attempt> {
  const root = join(place, 'jail');
  await mkdir(root);
  const script = 'mount -t tmpfs -o size=64k,nosuid,nodev tmpfs "$1"';
  return (await attempt('unshare', [...jailNamespaces(asRoot), '--', 'sh', '-c', script, 'sh', root]))
    .attempt;
}

/**
 * As root the changes lie on a file system in a file, and so does the layer that is tried: the state folder's own file
 * system may be one on which a layer cannot lie (a container's overlay).
 */
const script = `
set -eu
cd "$1"; image=$2 overlay=$3
mkdir lower changes hide merged
if [ -n "$image" ]; then
  mkfs.ext4 -q -F "$image" >&2
  mount -o loop,nosuid,nodev,discard -- "$image" changes
  echo disk
fi
mkdir changes/upper changes/work
echo below > lower/file
exec 7< lower 8< changes
mount -t overlay -o "$overlay" overlay merged
echo above > merged/file
[ "$(cat lower/file)" = below ] && [ "$(cat changes/upper/file)" = above ]
echo overlay
`;

async function tryMounts(place: string, asRoot: boolean): Promise<Pick<Found, 'overlay' | 'sizedDisk'>> {
  const root = join(place, 'overlay');
  await mkdir(root);
  const image = asRoot ? join(place, 'image') : '';
  if (asRoot) {
    await writeFile(image, '', { mode: 0o600 });
    await truncate(image, 2 ** 22);
  }
  const { attempt: tried, output } = await attempt('unshare', [
    ...[...sandboxNamespaces(asRoot), '--', 'sh', '-c', script, 'sh'],
    ...[root, image, overlayOptions(false, asRoot)],
  ]);
  const reached = output.split('\n');
  const outcome = (step: string): Attempt =>
    reached.includes(step) ? works : tried.works ? fails('no answer') : tried;
  return { overlay: outcome('overlay'), sizedDisk: asRoot ? outcome('disk') : null };
}

/** By what they say of themselves: an older util-linux, or BusyBox, lacks some. */
const options: Readonly<Record<NeededTool, readonly string[]>> = {
  setpriv: ['--pdeathsig', '--bounding-set', '--reuid'],
  unshare: ['--map-user', '--map-group', '--keep-caps', '--kill-child', '--propagation'],
  mount: ['--bind', '--types'],
};

async function findTools(): Promise<Found['tools']> {
  const find = async (name: NeededTool): Promise<Attempt> => {
    const { attempt: tried, output } = await attempt(name, ['--help']);
    if (!tried.works) return tried;
    const without = options[name].filter((option) => !output.includes(option));
    return without.length === 0 ? works : fails(`it has no ${without.join(', ')}`);
  };
  const [setpriv, unshare, mount] = await Promise.all([find('setpriv'), find('unshare'), find('mount')]);
  return { setpriv, unshare, mount };
}
