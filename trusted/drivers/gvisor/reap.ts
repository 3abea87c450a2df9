import { readdir, rm } from 'node:fs/promises';
import { isId, limits, type SandboxId } from '../../../pure/contracts/index.ts';
import type { ReapReport } from '../port.ts';
import { cgroupName, planCgroups, removeCgroup } from './cgroups.ts';
import { mountsBelow } from './changes-disk.ts';
import { absent } from './host-view.ts';
import { endProcesses, processesOf } from './processes.ts';
import { runCommand } from './run-command.ts';
import { runFolder, type GvisorSettings } from './settings.ts';

/**
 * Removes what a crash left [R26]. Only what is below this driver's own folder is looked at, so another Glovebox on the
 * machine (another user's, another state folder) is never touched. Each step can be repeated.
 */
export async function reap(
  settings: Pick<GvisorSettings, 'folder'>,
  keep: ReadonlySet<SandboxId>,
  only?: readonly string[],
): Promise<ReapReport> {
  const found = only ?? (await readdir(`${settings.folder}/run`).catch(absent)) ?? [];
  const ids = found.filter((id) => isId(id) && !keep.has(id as SandboxId));
  const left: string[] = [];
  const counted = { processes: 0, mounts: 0, cgroups: 0 };
  const attempt = async (what: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      left.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const folders = ids.map((id) => runFolder(settings.folder, id));
  await attempt('processes', async () => {
    const seen = new Set<number>();
    const alive = await endProcesses(async () => {
      const processes = folders.length === 0 ? [] : await processesOf(folders.map(({ path }) => path));
      for (const { pid } of processes) seen.add(pid);
      return processes;
    }, limits.sandboxEndWait.value);
    counted.processes = seen.size;
    for (const { pid } of alive) left.push(`process ${pid} still lives`);
  });
  for (const [index, run] of folders.entries()) {
    const id = ids[index] ?? '';
    await attempt(`mounts of ${id}`, async () => {
      const mounts = await mountsBelow(run.path);
      for (const mount of mounts) await runCommand('umount', ['--', mount]);
      counted.mounts += mounts.length;
    });
    await attempt(`run folder of ${id}`, async () => rm(run.path, { recursive: true, force: true }));
  }
  await attempt('cgroups', async () => {
    counted.cgroups = await removeCgroups(settings, keep, only);
  });
  return { sandboxes: ids, ...counted, left };
}

/** This driver's cgroups by their name, those too whose run folder is gone already. */
async function removeCgroups(
  settings: Pick<GvisorSettings, 'folder'>,
  keep: ReadonlySet<string>,
  only: readonly string[] | undefined,
): Promise<number> {
  const { parents } = await planCgroups();
  const mine = cgroupName(settings.folder, '');
  let removed = 0;
  for (const parent of new Set(Object.values(parents).map(({ folder }) => folder)))
    for (const name of (await readdir(parent).catch(absent)) ?? []) {
      const id = name.slice(mine.length);
      if (!name.startsWith(mine) || keep.has(id) || only?.includes(id) === false) continue;
      await removeCgroup(`${parent}/${name}`);
      removed += 1;
    }
  return removed;
}
