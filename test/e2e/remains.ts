import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { World } from './world.ts';

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly title: string;
}

const readQuietly = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // A process that ended while it was looked at.
    return '';
  }
};

export function processes(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((name) => {
      const stat = readQuietly(`/proc/${name}/stat`);
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const title = readQuietly(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim();
      return state === undefined || state === 'Z' || stat === ''
        ? []
        : [{ pid: Number(name), parent: Number(parent), title }];
    });
}

/** Everything that a process started, and what that started. */
export function descendants(root: number): Process[] {
  const all = processes();
  const found: Process[] = [];
  const below = (pid: number): void => {
    for (const child of all.filter(({ parent }) => parent === pid)) {
      found.push(child);
      below(child.pid);
    }
  };
  below(root);
  return found;
}

export const isAlive = (pid: number): boolean => {
  const stat = readQuietly(`/proc/${pid}/stat`);
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
};

/** What a world has on its machine, wherever it may be: each line says what and where. */
export function remainsOf({ folder, state }: Pick<World, 'folder' | 'state'>): string[] {
  const runs = join(state, 'sandboxes/run');
  const of = (kind: string, found: readonly string[]): string[] => found.map((one) => `${kind}: ${one}`);
  const named = processes().filter(({ pid, title }) => pid !== process.pid && title.includes(folder));
  const open = readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => cwdOf(name).startsWith(`${folder}/`));
  const mounts = readQuietly('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => line.includes(folder));
  const loops = execFileSync('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'], {
    encoding: 'utf8',
  })
    .split('\n')
    .filter((line) => line.includes(folder));
  return [
    ...of(
      'process',
      named.map(({ pid, title }) => `${pid} ${title.slice(0, 200)}`),
    ),
    ...of('process in it', open),
    ...of('mount', mounts),
    ...of('loop device', loops),
    ...of('control group', controlGroups(join(state, 'sandboxes'))),
    ...of('run folder', existsSync(runs) ? readdirSync(runs) : []),
    ...['run-ahead', 'run-ended'].flatMap((name) => {
      const kept = join(state, 'sandboxes', name);
      return of(name, existsSync(kept) ? readdirSync(kept) : []);
    }),
  ];
}

/** What a process has open. */
export function opened(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    // It closed one, or ended, while it was looked at.
    return [];
  }
}

const cwdOf = (pid: string): string => {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
};

/** The control groups of a driver’s sandboxes are named after its folder, since many may share a machine. */
function controlGroups(driverFolder: string): string[] {
  const name = createHash('sha256').update(driverFolder).digest('hex').slice(0, 12);
  const text = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `${name}-*`], {
    encoding: 'utf8',
  });
  return text.split('\n').filter((line) => line !== '');
}
