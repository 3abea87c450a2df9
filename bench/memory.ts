import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mb, table } from './figures.ts';
import type { Machine } from './machine.ts';

export interface Process {
  readonly pid: number;
  readonly name: string;
  readonly rss: number;
  readonly pss: number;
  readonly own: number;
}

/** The control plane, and all that lives and dies with it, while one session does nothing. */
export async function memoryPart(machine: Machine): Promise<string> {
  await machine.warm();
  const session = await machine.client.call('createSession', {
    body: machine.request(['sleep', '600'], { detach: true }),
  });
  await machine.until(session.id, ({ state }) => state === 'running');
  let health = await machine.client.call('health', {});
  while (health.warmSidecars === 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    health = await machine.client.call('health', {});
  }
  const processes = processesOf(machine, health.pid);
  await machine.client.call('stopSession', { params: { id: session.id } });
  await machine.until(session.id, ({ state }) => state === 'ended');
  const sum = (key: 'rss' | 'pss' | 'own'): string =>
    mb(processes.reduce((total, one) => total + one[key], 0));
  return table(
    ['process', 'RSS', 'PSS', 'private'],
    [
      ...merged(processes).map(({ name, rss, pss, own }) => [name, mb(rss), mb(pss), mb(own)]),
      ['all', sum('rss'), sum('pss'), sum('own')],
    ],
  );
}

export const processesOf = (machine: Machine, root: number): Process[] =>
  belongingTo(machine, root)
    .map((pid) => read(machine, pid))
    .filter((one) => one !== undefined);

/** Descendants, and what runsc left to init: those name a folder of this machine's. */
function belongingTo(machine: Machine, root: number): number[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const parent = new Map(all.map((pid) => [pid, parentOf(pid)]));
  const below = (pid: number | undefined): boolean =>
    pid === root || (pid !== undefined && pid > 1 && below(parent.get(pid)));
  return all.filter(
    (pid) => below(pid) || (text(pid, 'cmdline').includes(machine.folder) && pid !== process.pid),
  );
}

const text = (pid: number, name: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // It ended between the listing and the reading.
    return '';
  }
};
const parentOf = (pid: number): number => Number(/^PPid:\t(\d+)/m.exec(text(pid, 'status'))?.[1] ?? 0);

function read(machine: Machine, pid: number): Process | undefined {
  const memory = text(pid, 'smaps_rollup');
  const kilobytes = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) * 1024;
  const rss = kilobytes('Rss');
  // The small programs that become others, and wait: a shell, unshare.
  if (rss < 4e6) return undefined;
  return {
    pid,
    name: nameOf(machine, text(pid, 'cmdline').split('\0')),
    rss,
    pss: kilobytes('Pss'),
    own: kilobytes('Private_Clean') + kilobytes('Private_Dirty'),
  };
}

function nameOf(machine: Machine, args: readonly string[]): string {
  const all = args.join(' ');
  // systrap runs the sandbox's programs in processes of its own, which have no words and share the sandbox's memory.
  if (all.trim() === '') return 'programs in sandboxes (systrap)';
  const id = /\/sandboxes\/run\/([a-z0-9]+)/.exec(all)?.[1];
  const whose = id === undefined ? '' : ofSession(machine, id) ? 'session: ' : 'files provider: ';
  if (args.includes('boot') || args[0] === 'runsc-sandbox') return `${whose}sentry`;
  if (args.includes('gofer') || args[0] === 'runsc-gofer') return `${whose}gofer`;
  if (args.includes('run') && all.includes('--bundle=')) return `${whose}runsc run`;
  return (
    all
      .replace(/(\S*\/)(\S+)/g, '$2')
      .split(' ')[0]
      ?.trim() ?? ''
  );
}

const ofSession = (machine: Machine, id: string): boolean =>
  readFileSync(join(machine.state, 'sandboxes/run', id, 'config.json'), 'utf8').includes('"/workspace"');

/** One row for each name. */
function merged(processes: readonly Process[]): Process[] {
  const rows = new Map<string, Process & { count: number }>();
  for (const one of processes) {
    const { count, rss, pss, own } = rows.get(one.name) ?? { count: 0, rss: 0, pss: 0, own: 0 };
    rows.set(one.name, {
      ...one,
      count: count + 1,
      rss: rss + one.rss,
      pss: pss + one.pss,
      own: own + one.own,
    });
  }
  return [...rows.values()].map((row) =>
    row.count === 1 ? row : { ...row, name: `${row.name} × ${row.count}` },
  );
}
