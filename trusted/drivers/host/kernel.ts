import { readFile, statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { controllers, profileName, type Controller, type HostFacts } from '../../../pure/host/index.ts';
import { cgroupMounts, planCgroups } from '../gvisor/cgroups.ts';
import { confined } from '../gvisor/launch.ts';
import { attempt, fails, works } from './attempt.ts';

/** A file of the kernel's, or nothing: a kernel without the feature, or one that does not show it to this user. */
const kernelFile = async (path: string): Promise<string> =>
  (await readFile(path, 'utf8').catch(() => '')).trim();

export async function readKernel(): Promise<Pick<HostFacts, 'kernel' | 'landlock' | 'seccompActions'>> {
  const [modules, actions] = await Promise.all([
    kernelFile('/sys/kernel/security/lsm'),
    kernelFile('/proc/sys/kernel/seccomp/actions_avail'),
  ]);
  return {
    kernel: release(),
    landlock: modules.split(',').includes('landlock'),
    seccompActions: actions.split(' ').filter((action) => action !== ''),
  };
}

export async function findCgroups(): Promise<HostFacts['cgroups']> {
  const [{ v1, v2 }, { parents, missing }] = await Promise.all([cgroupMounts(), planCgroups()]);
  const limited = (name: Controller): HostFacts['cgroups']['controllers'][Controller] => {
    const parent = parents[name];
    return parent === undefined ? { missing: missing[name] ?? 'not found' } : { version: parent.version };
  };
  const hasV1 = controllers.some((name) => v1.has(name));
  return {
    layout: hasV1 ? (v2 === undefined ? 'v1' : 'hybrid') : v2 === undefined ? 'none' : 'v2',
    controllers: { memory: limited('memory'), cpu: limited('cpu'), pids: limited('pids') },
  };
}

/**
 * The list of loaded profiles is shown to root only, so a program is started under this one, in the way in which runsc is.
 * A profile in complain mode holds nothing.
 */
export async function findAppArmor(): Promise<HostFacts['apparmor']> {
  const [enabled, restricted] = await Promise.all([
    kernelFile('/sys/module/apparmor/parameters/enabled'),
    kernelFile('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
  ]);
  const restrictsUserNamespaces = restricted === '1';
  if (enabled !== 'Y')
    return { enabled: false, profile: fails('AppArmor is not enabled'), restrictsUserNamespaces };
  const chain = [...confined({ apparmor: true }), 'cat', '/proc/self/attr/current'];
  const { attempt: tried, output } = await attempt('env', ['--', ...chain]);
  const inForce = output.trim() === `${profileName} (enforce)`;
  return {
    enabled: true,
    profile: !tried.works
      ? tried
      : inForce
        ? works
        : fails(`a program started under it runs as ${output.trim()}`),
    restrictsUserNamespaces,
  };
}

export async function measureDisk(folder: string): Promise<HostFacts['disk']> {
  const { bavail, bsize } = await statfs(folder);
  return { folder, freeBytes: bavail * bsize };
}
