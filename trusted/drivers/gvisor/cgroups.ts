import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { limits, type Tier } from '../../../pure/contracts/index.ts';
import { absent, onlyCodes } from './host-view.ts';
import { memoryOfCgroup } from './usage.ts';

type Controller = 'cpu' | 'memory' | 'pids';
const controllers: readonly Controller[] = ['cpu', 'memory', 'pids'];

/** For each controller: the folder below which sandboxes get their own, or why there is none. v1, v2 and hybrid alike. */
export interface CgroupPlan {
  readonly parents: Readonly<
    Partial<Record<Controller, { readonly version: 1 | 2; readonly folder: string }>>
  >;
  readonly missing: Readonly<Partial<Record<Controller, string>>>;
}

export interface SandboxCgroup {
  /** Files to write "0" to, to join. */
  readonly join: readonly string[];
  readLimits(): Promise<Readonly<Record<Controller, { value: number; by: string } | { missing: string }>>>;
  /** How often the kernel killed for memory, and refused a process. */
  readEvents(): Promise<{ oomKills: number; pidsRefused: number }>;
  /** Bytes, as the kernel counts them against the limit; undefined where no cgroup counts them. */
  memoryUsed(): Promise<number | undefined>;
  /** Host pids inside. */
  processes(): Promise<number[]>;
  remove(): Promise<void>;
}

const period = 100_000;
/**
 * The sandbox's own count (RLIMIT_NPROC, EAGAIN) is the tier's; the host's holds runsc's threads too, and is there for
 * the case that the sandbox's kernel is taken over: reaching it ends the sandbox.
 */
export const hostPids = (tier: Tier): number => tier.pids * 8 + 512;

export async function planCgroups(): Promise<CgroupPlan> {
  const mounts = await cgroupMounts();
  const own = await ownCgroups();
  const parents: Partial<Record<Controller, { version: 1 | 2; folder: string }>> = {};
  const missing: Partial<Record<Controller, string>> = {};
  for (const controller of controllers) {
    const v1 = mounts.v1.get(controller);
    const v2 = mounts.v2;
    const found =
      v1 !== undefined
        ? await usable(1, v1, own.get(controller) ?? '/', controller)
        : v2 !== undefined
          ? await usable(2, v2, own.get('') ?? '/', controller)
          : `this host has no ${controller} cgroup controller`;
    if (typeof found === 'string') missing[controller] = found;
    else parents[controller] = found;
  }
  return { parents, missing };
}

/** As root a folder `glovebox` at the top of the hierarchy; else one in this process's own cgroup, if it is delegated. */
async function usable(
  version: 1 | 2,
  mount: string,
  own: string,
  controller: Controller,
): Promise<{ version: 1 | 2; folder: string } | string> {
  const base = process.geteuid?.() === 0 ? mount : `${mount}${own === '/' ? '' : own}`;
  const folder = `${base}/glovebox`;
  try {
    if (version === 2) {
      const offered = (await readFile(`${base}/cgroup.controllers`, 'utf8')).trim().split(' ');
      if (!offered.includes(controller)) return `the ${controller} controller is not delegated to ${base}`;
      await enable(base, controller);
    }
    await mkdir(folder).catch((error: unknown) => onlyCodes(error, 'EEXIST'));
    await access(folder, constants.W_OK);
    if (version === 2) await enable(folder, controller);
    return { version, folder };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    return `the ${controller} cgroup of this user is not writable (${code}); start Glovebox in a delegated scope: systemd-run --user --scope -p Delegate=yes`;
  }
}

/** EBUSY: a cgroup that holds processes cannot share its controllers out; the caller reports it as missing. */
async function enable(folder: string, controller: Controller): Promise<void> {
  const file = `${folder}/cgroup.subtree_control`;
  if ((await readFile(file, 'utf8')).split(/\s+/).includes(controller)) return;
  await writeFile(file, `+${controller}`);
}

export async function makeCgroup(plan: CgroupPlan, name: string, tier: Tier): Promise<SandboxCgroup> {
  const made = new Map<Controller, { version: 1 | 2; folder: string }>();
  const missing: Partial<Record<Controller, string>> = { ...plan.missing };
  for (const controller of controllers) {
    const parent = plan.parents[controller];
    if (parent === undefined) continue;
    const folder = `${parent.folder}/${name}`;
    try {
      await mkdir(folder).catch((error: unknown) => onlyCodes(error, 'EEXIST'));
      await setLimit(parent.version, folder, controller, tier);
      made.set(controller, { version: parent.version, folder });
    } catch (error) {
      missing[controller] = error instanceof Error ? error.message : 'unknown';
    }
  }
  const folders = [...new Set([...made.values()].map(({ folder }) => folder))];
  return {
    join: folders.map((folder) => `${folder}/cgroup.procs`),
    readLimits: async () => ({
      cpu: await readBack(made, missing, 'cpu'),
      memory: await readBack(made, missing, 'memory'),
      pids: await readBack(made, missing, 'pids'),
    }),
    readEvents: async () => ({
      oomKills: await counter(
        made.get('memory'),
        { 1: 'memory.oom_control', 2: 'memory.events' },
        'oom_kill',
      ),
      pidsRefused: await counter(made.get('pids'), { 1: 'pids.events', 2: 'pids.events' }, 'max'),
    }),
    memoryUsed: async () => {
      const memory = made.get('memory');
      return memory === undefined ? undefined : await memoryOfCgroup(memory.folder, memory.version);
    },
    processes: async () => {
      const lists = await Promise.all(
        folders.map((folder) => readFile(`${folder}/cgroup.procs`, 'utf8').catch(absent)),
      );
      return [...new Set(lists.flatMap((text) => (text ?? '').split('\n').filter(Boolean).map(Number)))];
    },
    remove: async () => {
      for (const folder of folders) await removeCgroup(folder);
    },
  };
}

/** A process that has ended stays a member until its parent has waited for it: busy for a moment. */
export async function removeCgroup(folder: string): Promise<void> {
  const deadline = performance.now() + limits.sandboxEndWait.value;
  for (;;) {
    try {
      await rmdir(folder).catch(absent);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      onlyCodes(error, 'EBUSY');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** One driver's cgroups among those of all on the machine: it may remove these, and no others. */
export const cgroupName = (driverFolder: string, sandboxId: string): string =>
  `${createHash('sha256').update(driverFolder).digest('hex').slice(0, 12)}-${sandboxId}`;

async function setLimit(version: 1 | 2, folder: string, controller: Controller, tier: Tier): Promise<void> {
  const set = (file: string, value: string | number): Promise<void> =>
    writeFile(`${folder}/${file}`, String(value));
  switch (controller) {
    case 'cpu':
      if (version === 2) return set('cpu.max', `${tier.vcpu * period} ${period}`);
      await set('cpu.cfs_period_us', period);
      return set('cpu.cfs_quota_us', tier.vcpu * period);
    case 'memory':
      if (version === 2) {
        await set('memory.max', tier.memoryBytes);
        // Without it a host with swap holds more than the tier says.
        return set('memory.swap.max', 0).catch(absent);
      }
      await set('memory.limit_in_bytes', tier.memoryBytes);
      return set('memory.memsw.limit_in_bytes', tier.memoryBytes).catch(() => undefined);
    case 'pids':
      return set('pids.max', hostPids(tier));
  }
}

async function readBack(
  made: ReadonlyMap<Controller, { version: 1 | 2; folder: string }>,
  missing: Readonly<Partial<Record<Controller, string>>>,
  controller: Controller,
): Promise<{ value: number; by: string } | { missing: string }> {
  const found = made.get(controller);
  if (found === undefined) return { missing: missing[controller] ?? 'unknown' };
  const { version, folder } = found;
  const read = async (file: string): Promise<string> => (await readFile(`${folder}/${file}`, 'utf8')).trim();
  try {
    if ((await read('cgroup.procs')) === '') return { missing: 'the sandbox is not in its cgroup' };
    const value = await readValue(version, controller, read);
    if (!Number.isFinite(value) || value <= 0) return { missing: 'the host answers with no limit' };
    return { value, by: `cgroup v${version}` };
  } catch (error) {
    return { missing: error instanceof Error ? error.message : 'unknown' };
  }
}

async function readValue(
  version: 1 | 2,
  controller: Controller,
  read: (file: string) => Promise<string>,
): Promise<number> {
  switch (controller) {
    case 'cpu': {
      if (version === 1)
        return Number(await read('cpu.cfs_quota_us')) / Number(await read('cpu.cfs_period_us'));
      const [quota, length] = (await read('cpu.max')).split(' ').map(Number);
      return (quota ?? Number.NaN) / (length ?? Number.NaN);
    }
    case 'memory':
      return Number(await read(version === 1 ? 'memory.limit_in_bytes' : 'memory.max'));
    case 'pids':
      return Number(await read('pids.max'));
  }
}

async function counter(
  cgroup: { version: 1 | 2; folder: string } | undefined,
  files: Readonly<Record<1 | 2, string>>,
  key: string,
): Promise<number> {
  if (cgroup === undefined) return 0;
  const text = await readFile(`${cgroup.folder}/${files[cgroup.version]}`, 'utf8').catch(absent);
  return Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text ?? '')?.[1] ?? 0);
}

export async function cgroupMounts(): Promise<{ v1: Map<string, string>; v2: string | undefined }> {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const [before, after] = line.split(' - ');
    const point = before?.split(' ')[4];
    const [type, , options] = after?.split(' ') ?? [];
    if (point === undefined) continue;
    if (type === 'cgroup2') v2 ??= point;
    if (type === 'cgroup')
      for (const option of options?.split(',') ?? []) if (!v1.has(option)) v1.set(option, point);
  }
  return { v1, v2 };
}

/** Controller ('' for v2) to this process's path in its hierarchy. */
async function ownCgroups(): Promise<Map<string, string>> {
  const own = new Map<string, string>();
  for (const line of (await readFile('/proc/self/cgroup', 'utf8')).trim().split('\n')) {
    const [, names, ...path] = line.split(':');
    for (const name of (names ?? '').split(',')) own.set(name, path.join(':'));
  }
  return own;
}
