import { mkdir } from 'node:fs/promises';
import type { HostReport } from '../../../pure/contracts/index.ts';
import { judgeHost, type HostFacts } from '../../../pure/host/index.ts';
import type { GvisorSettings } from '../gvisor/settings.ts';
import { tryNamespaces } from './namespaces.ts';
import { findAppArmor, findCgroups, measureDisk, readKernel } from './kernel.ts';
import { findPlatform, reapProbes } from './platform.ts';

export interface HostTools {
  /** Absolute paths. */
  readonly runsc: string;
  readonly init: string;
  /** The driver's folder (0700), on the file system that it will use. */
  readonly folder: string;
}

/** Everything is tried anew but the platform, which is remembered until the next boot or another runsc. */
export async function gatherFacts(tools: HostTools): Promise<HostFacts> {
  const { runsc, init, folder } = tools;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await reapProbes(folder);
  const uid = process.geteuid?.() ?? -1;
  const [kernel, namespaces, cgroups, apparmor, disk] = await Promise.all([
    readKernel(),
    tryNamespaces(folder, uid === 0),
    findCgroups(),
    findAppArmor(),
    measureDisk(folder),
  ]);
  // After the others: it needs what they try, and under AppArmor it is started under the profile.
  const gvisor = await findPlatform({ runsc, init, folder, apparmor: apparmor.profile.works });
  return { uid, ...kernel, ...namespaces, cgroups, apparmor, disk, ...gvisor };
}

export async function probeHost(waived: readonly string[], tools: HostTools): Promise<HostReport> {
  return judgeHost(await gatherFacts(tools), waived);
}

export interface HostProbe {
  probe(waived: readonly string[]): Promise<HostReport>;
  /** For the driver, and always as the last probe found it: what the report calls held is then what a sandbox gets. */
  readonly settings: GvisorSettings;
}

export function createHostProbe(tools: HostTools): HostProbe {
  let last: Pick<GvisorSettings, 'platform'> & { readonly apparmor: boolean } = {
    platform: 'systrap',
    apparmor: false,
  };
  return {
    probe: async (waived) => {
      const facts = await gatherFacts(tools);
      last = { platform: facts.platform.chosen?.name ?? 'systrap', apparmor: facts.apparmor.profile.works };
      return judgeHost(facts, waived);
    },
    settings: {
      ...tools,
      get platform() {
        return last.platform;
      },
      get apparmor() {
        return last.apparmor;
      },
    },
  };
}
