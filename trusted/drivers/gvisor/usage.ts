import { readFile } from 'node:fs/promises';
import { absent } from './host-view.ts';
import { identify, type ProcessIdentity } from './processes.ts';

export interface ProcessUse {
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

/** Ticks of the clock in which Linux tells a process's time, whatever the kernel's own. */
const tickMs = 10;

/** What these processes have used: a share of each page that they have in common, so that the sum is the sandbox's. */
export async function useOf(processes: readonly ProcessIdentity[]): Promise<ProcessUse> {
  const each = await Promise.all(processes.map(useOfOne));
  return {
    cpuMs: each.reduce((sum, one) => sum + one.cpuMs, 0),
    memoryBytes: each.reduce((sum, one) => sum + one.memoryBytes, 0),
  };
}

async function useOfOne(process: ProcessIdentity): Promise<ProcessUse> {
  const nothing = { cpuMs: 0, memoryBytes: 0 };
  const folder = `/proc/${process.pid}`;
  const [stat, memory] = await Promise.all([
    readFile(`${folder}/stat`, 'utf8').catch(() => undefined),
    // Not every kernel has it, and not every process may be read.
    readFile(`${folder}/smaps_rollup`, 'utf8').catch(() => undefined),
  ]);
  if (stat === undefined || (await identify(process.pid))?.startTime !== process.startTime) return nothing;
  // The name in parentheses may hold anything; of what follows, 12 and 13 are its time, 14 and 15 that of its ended children.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field] ?? 0), 0);
  const kilobytes = Number(/^Pss:\s+(\d+) kB/m.exec(memory ?? '')?.[1] ?? 0);
  return { cpuMs: ticks * tickMs, memoryBytes: kilobytes * 1024 };
}

/** The cgroup's own count, which is what the kernel holds against the limit; undefined where there is none. */
export async function memoryOfCgroup(folder: string, version: 1 | 2): Promise<number | undefined> {
  const file = version === 1 ? 'memory.usage_in_bytes' : 'memory.current';
  const text = await readFile(`${folder}/${file}`, 'utf8').catch(absent);
  const bytes = Number(text);
  return text === undefined || !Number.isFinite(bytes) ? undefined : bytes;
}
