import type { ChildProcess } from 'node:child_process';
import { lstat, readdir, statfs } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { limits, type Tier } from '../../../pure/contracts/index.ts';
import type { AppliedLimit, RunningSandbox, FullDisk, SandboxEnd, SandboxUsage } from '../port.ts';
import type { SandboxCgroup } from './cgroups.ts';
import type { ChangesDisk } from './changes-disk.ts';
import { absent } from './host-view.ts';
import { keepTail } from './launch.ts';
import { endProcesses, identify, processesOf, type ProcessIdentity } from './processes.ts';
import { runCommand } from './run-command.ts';
import type { RunFolders } from './run-folders.ts';
import { diskShares, type RunFolder } from './settings.ts';
import { useOf } from './usage.ts';

export interface SandboxParts {
  readonly child: ChildProcess;
  readonly link: Socket;
  readonly pid: number;
  readonly run: RunFolder;
  readonly folders: Pick<RunFolders, 'remove'>;
  readonly tier: Tier;
  readonly timeLimitMs: number;
  readonly cgroup: SandboxCgroup;
  readonly changes: ChangesDisk | undefined;
  readonly hidden: readonly string[];
}

type Cause = 'killed' | 'time' | 'disk';

/** A sandbox from its start to the moment when nothing of it is left on the host but its changes. */
export class GvisorSandbox implements RunningSandbox {
  readonly link: Socket;
  readonly pid: number;
  readonly hidden: readonly string[];
  readonly over: Promise<SandboxEnd>;
  readonly ended: Promise<SandboxEnd>;
  readonly #parts: SandboxParts;
  readonly #said: () => string;
  #cause: Cause | undefined;
  #diskUsed = 0;
  #timers: NodeJS.Timeout[] = [];

  constructor(parts: SandboxParts) {
    this.#parts = parts;
    this.link = parts.link;
    this.pid = parts.pid;
    this.hidden = parts.hidden;
    this.#said = keepTail([parts.child.stdout, parts.child.stderr], limits.sandboxDiagnostics.value);
    this.#timers.push(setTimeout(() => this.#end('time'), parts.timeLimitMs));
    if (parts.changes?.bounded === false) this.#watchDisk(parts.changes);
    const left: string[] = [];
    this.over = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      parts.child.once('exit', (code, signal) => resolve({ code, signal }));
    }).then(async (exit) => this.#settle(exit, left));
    this.ended = this.over.then(async (end) => this.#remove(end, left));
  }

  async kill(): Promise<void> {
    this.#end('killed');
    await this.ended;
  }

  async limits(): Promise<readonly AppliedLimit[]> {
    const { tier, cgroup, changes, timeLimitMs } = this.#parts;
    const read = await cgroup.readLimits();
    const inKernel = (limit: 'cpu' | 'memory', asked: number): AppliedLimit => {
      const found = read[limit];
      return 'missing' in found
        ? { limit, enforced: false, by: found.missing, value: asked }
        : { limit, enforced: found.value <= asked, by: found.by, value: found.value };
    };
    const rlimit = 'rlimit in the sandbox\u2019s kernel';
    const host =
      'missing' in read.pids ? '' : `; ${read.pids.by} holds its host processes at ${read.pids.value}`;
    const sized = (limit: 'tmp-disk' | 'home-disk', share: number): AppliedLimit => ({
      limit,
      enforced: true,
      by: 'size of a disk-backed file system',
      value: Math.floor(tier.diskBytes * share),
    });
    return [
      inKernel('cpu', tier.vcpu),
      inKernel('memory', tier.memoryBytes),
      { limit: 'processes', enforced: true, by: rlimit + host, value: tier.pids },
      { limit: 'open-files', enforced: true, by: rlimit, value: tier.openFiles },
      sized('tmp-disk', diskShares.tmp),
      sized('home-disk', diskShares.home),
      ...(changes === undefined ? [] : [workspaceLimit(changes, tier)]),
      { limit: 'time', enforced: true, by: 'the driver', value: timeLimitMs },
    ];
  }

  async usage(): Promise<SandboxUsage> {
    const { cgroup, changes, run } = this.#parts;
    const processes = await this.#alive();
    const [used, counted, own, workspace] = await Promise.all([
      useOf(processes),
      cgroup.memoryUsed(),
      usedBytes(join(run.path, 'disk')),
      changes === undefined ? 0 : this.#workspaceUsed(changes),
    ]);
    return {
      cpuMs: used.cpuMs,
      memoryBytes: counted ?? used.memoryBytes,
      diskBytes: own + workspace,
      processes: processes.length,
    };
  }

  /** A file system of its own knows; a folder has to be measured, which the watch does already. */
  async #workspaceUsed(changes: ChangesDisk): Promise<number> {
    if (!changes.bounded) return this.#diskUsed;
    const disk = await statfs(changes.upper).catch(absent);
    return disk === undefined ? 0 : (disk.blocks - disk.bfree) * disk.bsize;
  }

  /** The first cause counts. Killing runsc ends the sandbox: all its processes have it as the one they die with. */
  #end(cause: Cause): void {
    if (this.#parts.child.exitCode !== null || this.#parts.child.signalCode !== null) return;
    this.#cause ??= cause;
    this.#parts.child.kill('SIGKILL');
  }

  #watchDisk(changes: ChangesDisk): void {
    const allowed = this.#parts.tier.diskBytes * diskShares.workspace;
    const measure = async (): Promise<void> => {
      const started = performance.now();
      const used = await usedBytes(changes.upper);
      this.#diskUsed = used;
      if (used > allowed) {
        this.#end('disk');
        return;
      }
      // A folder that takes long to measure is measured less often: at most a tenth of the time goes into it.
      const pause = Math.max(limits.sandboxDiskWatch.value, (performance.now() - started) * 9);
      this.#timers.push(setTimeout(() => void measure(), pause));
    };
    this.#timers.push(setTimeout(() => void measure(), limits.sandboxDiskWatch.value));
  }

  /** Until nobody writes any more, and what came of it is known. */
  async #settle(exit: { code: number | null; signal: string | null }, left: string[]): Promise<SandboxEnd> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    const { cgroup, changes } = this.#parts;
    const events = await cgroup.readEvents().catch(() => ({ oomKills: 0, pidsRefused: 0 }));
    const full = await fullDisks(this.#parts);
    const end = explain(exit, this.#cause, events, this.#said());
    await attempt(left, 'processes', async () => {
      const alive = await endProcesses(() => this.#alive(), limits.sandboxEndWait.value);
      if (alive.length > 0) throw new Error(`${alive.length} still live`);
    });
    this.#parts.link.destroy();
    await attempt(left, 'cgroup', async () => cgroup.remove());
    // While its file system is still mounted, and only if nobody writes any more.
    return { ...end, full, changed: left.length === 0 ? await holdsAnything(changes) : null };
  }

  async #remove(end: SandboxEnd, left: string[]): Promise<SandboxEnd> {
    const { run, changes, folders } = this.#parts;
    await Promise.all([
      attempt(left, 'changes', async () => changes?.close()),
      attempt(left, 'run folder', async () => folders.remove(run)),
    ]);
    return left.length === 0
      ? end
      : { ...end, detail: `${end.detail} Left for the next start to remove: ${left.join('; ')}.` };
  }

  /**
   * The launch joins its cgroup first of all, and nothing leaves it. Only where there is none every process of the host is
   * read for its name, which takes longer than all of them take to die.
   */
  async #alive(): Promise<readonly ProcessIdentity[]> {
    const { cgroup, run } = this.#parts;
    if (cgroup.join.length === 0) return processesOf([run.path]);
    const inside = await Promise.all((await cgroup.processes()).map(identify));
    return inside.flatMap((one) => (one === undefined ? [] : [one]));
  }
}

/** One step that fails must not keep the next ones from removing what they can. */
async function attempt(left: string[], what: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    left.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Not readable is not known, and not known is not the same as nothing. */
const holdsAnything = async (changes: ChangesDisk | undefined): Promise<boolean | null> =>
  changes === undefined
    ? false
    : readdir(changes.upper).then(
        (names) => names.length > 0,
        () => null,
      );

const workspaceLimit = (changes: ChangesDisk, tier: Tier): AppliedLimit => ({
  limit: 'workspace-disk',
  enforced: true,
  by: changes.bounded
    ? 'size of a file system of its own'
    : `a watch that ends the session, every ${limits.sandboxDiskWatch.value} ms: an ordinary user cannot mount a sized file system`,
  value: Math.floor(tier.diskBytes * diskShares.workspace),
});

/** du counts blocks, as the disk does. A folder that changes meanwhile makes it exit 1 with a total all the same. */
async function usedBytes(folder: string): Promise<number> {
  const output = await runCommand('du', ['-s', '--block-size=1', '--', folder]).catch(() => '0');
  return Number.parseInt(output, 10);
}

/** A file system of its own says what is left of it; those in the sandbox's kernel lie in files that grow to their size. */
async function fullDisks(parts: SandboxParts): Promise<readonly FullDisk[]> {
  const { changes, run, tier } = parts;
  const full: FullDisk[] = [];
  const bytes = (share: number): number => Math.floor(tier.diskBytes * share);
  if (changes?.bounded === true) {
    const disk = await statfs(changes.upper).catch(absent);
    const value = bytes(diskShares.workspace);
    if (disk !== undefined && disk.bavail * disk.bsize < value * nearlyNothing)
      full.push({ limit: 'workspace-disk', value });
  }
  for (const name of ['tmp', 'home'] as const) {
    const value = bytes(diskShares[name]);
    const folder = join(run.path, 'disk', name);
    const files = await readdir(folder).catch(() => []);
    const stats = await Promise.all(files.map((file) => lstat(join(folder, file)).catch(absent)));
    const used = stats.reduce((sum, stat) => sum + (stat?.blocks ?? 0) * 512, 0);
    if (value - used < value * nearlyNothing) full.push({ limit: `${name}-disk`, value });
  }
  return full;
}

/** Of its size. A file system keeps some blocks for itself when it refuses a write. */
const nearlyNothing = 1 / 64;

function explain(
  exit: { code: number | null; signal: string | null },
  cause: Cause | undefined,
  events: { oomKills: number; pidsRefused: number },
  said: string,
): Omit<SandboxEnd, 'changed' | 'full'> {
  const ended = (reason: SandboxEnd['reason'], detail: string): Omit<SandboxEnd, 'changed' | 'full'> => ({
    reason,
    ...exit,
    detail,
  });
  if (cause === 'time') return ended('time', 'The sandbox reached its time limit.');
  if (cause === 'disk')
    return ended('disk', 'The changes in the workspace grew beyond the disk of the tier.');
  if (events.oomKills > 0)
    return ended('memory', 'The sandbox needed more memory than the tier has and was ended by the kernel.');
  if (cause === 'killed') return ended('killed', 'The sandbox was ended.');
  const crashed = exit.signal !== null || (exit.code ?? 0) >= 125;
  if (crashed && events.pidsRefused > 0)
    return ended('pids', 'The sandbox needed more processes than the tier has.');
  if (crashed) {
    const last = said.trim().split('\n').slice(-3).join(' | ');
    return ended(
      'crashed',
      `The sandbox ended by itself (${exit.signal ?? `code ${exit.code}`}). It said: ${last}`,
    );
  }
  return ended('exited', 'The command ended.');
}
