import { randomInt } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Socket } from 'node:net';
import type { ChildProcess } from 'node:child_process';
import { GloveboxError, limits, type SandboxId, type Tier } from '../../../pure/contracts/index.ts';
import { privateIds, type SpecHost, type SpecWorkspace } from '../../../pure/compile/index.ts';
import type { OpenChanges, ReapReport, RunningSandbox, SandboxDriver, SandboxRequest } from '../port.ts';
import { cgroupName, makeCgroup, planCgroups, type CgroupPlan } from './cgroups.ts';
import { ChangesDisks, type ChangesDisk } from './changes-disk.ts';
import { findCredentialFiles, masksOf, writeHidingLayer } from './credential-walk.ts';
import { exists, readHostView, type HostView } from './host-view.ts';
import { launch, rootPlace } from './launch.ts';
import { writeSpec } from './prepare-run.ts';
import { reap } from './reap.ts';
import { RunFolders } from './run-folders.ts';
import { refuseLinks, refuseMovingSources } from './stable-sources.ts';
import { GvisorSandbox } from './sandbox.ts';
import { diskShares, runFolder, type GvisorSettings, type RunFolder } from './settings.ts';

/** What is looked up once and holds for every sandbox. */
interface Host {
  readonly view: HostView;
  readonly cgroups: CgroupPlan;
  readonly dentries: number;
}

export async function createGvisorDriver(settings: GvisorSettings): Promise<SandboxDriver> {
  await mkdir(join(settings.folder, 'run'), { recursive: true, mode: 0o700 });
  if (process.geteuid?.() === 0) await makeRootPlace();
  const [view, cgroups, dentries] = await Promise.all([
    readHostView(settings.folder, settings.view),
    planCgroups(),
    dentryCache(),
  ]);
  return new GvisorDriver(settings, { view, cgroups, dentries });
}

/** An empty mount point that everybody may pass through and nobody but root may change. */
async function makeRootPlace(): Promise<void> {
  for (const path of [dirname(rootPlace), rootPlace]) {
    await mkdir(path).catch(exists);
    const found = await lstat(path);
    if (!found.isDirectory() || found.uid !== 0)
      throw new GloveboxError('GB_SANDBOX_START', { detail: `${path} is not a folder of root` });
    await chmod(path, 0o755);
  }
}

class GvisorDriver implements SandboxDriver {
  readonly #settings: GvisorSettings;
  readonly #host: Host;
  readonly #asRoot = process.geteuid?.() === 0;
  readonly #disks: ChangesDisks;
  readonly #folders: RunFolders;
  readonly #runscUids = new Set<number>();
  readonly #running = new Map<SandboxId, SandboxRequest>();

  constructor(settings: GvisorSettings, host: Host) {
    this.#settings = settings;
    this.#host = host;
    this.#disks = new ChangesDisks(settings.folder, this.#asRoot);
    this.#folders = new RunFolders(settings.folder, host.view);
  }

  async prepare(tier: Tier): Promise<void> {
    this.#folders.prepare();
    await this.#disks.prepare(workspaceBytes(tier));
  }

  async start(request: SandboxRequest): Promise<RunningSandbox> {
    if (this.#running.has(request.sandboxId))
      throw new GloveboxError('GB_SANDBOX_START', { detail: 'a sandbox of this id runs already' });
    refuseMovingSources(request, [...this.#running.values()]);
    this.#running.set(request.sandboxId, request);
    const run = runFolder(this.#settings.folder, request.sandboxId);
    const { workspace } = request;
    const undo: (() => Promise<unknown>)[] = [];
    try {
      await refuseLinks(request);
      this.#folders.make(run, request);
      // These wait for the disk and for children, not for one another. All are waited for before one's failure counts:
      // what still goes on could not be undone.
      const steps = [
        workspace === undefined ? Promise.resolve([]) : findCredentialFiles(workspace.folder, workspace.show),
        this.#openChangesDisk(request, undo),
        makeCgroup(this.#host.cgroups, cgroupName(this.#settings.folder, request.sandboxId), request.tier),
        workspaceOwner(request),
      ] as const;
      await Promise.allSettled(steps);
      const [hidden, changes, cgroup, owner] = await Promise.all(steps);
      undo.push(async () => cgroup.remove());
      if (changes !== undefined && workspace !== undefined)
        await writeHidingLayer(`${run.path}/hide`, workspace.folder, hidden);
      const ids = this.#ids(owner);
      writeSpec({
        settings: this.#settings,
        run,
        request,
        view: this.#host.view,
        ids,
        workspace: await specWorkspace(request, run, hidden),
      });
      const child = launch(this.#settings, {
        run,
        sandboxId: request.sandboxId,
        asRoot: this.#asRoot,
        fileAccess: workspace?.mode === 'staged' ? 'exclusive' : 'shared',
        joinCgroups: cgroup.join,
        dentries: this.#host.dentries,
        ...(request.image === undefined ? {} : { image: request.image.rootfs }),
        ...(changes === undefined || workspace === undefined
          ? {}
          : { staged: { project: workspace.folder, changes: changes.folder, hidden: hidden.length > 0 } }),
      });
      const pid = await spawned(child);
      const sandbox = new GvisorSandbox({
        child,
        link: linkOf(child),
        pid,
        run,
        folders: this.#folders,
        tier: request.tier,
        timeLimitMs: request.timeLimitMs,
        cgroup,
        changes,
        hidden,
      });
      void sandbox.ended.then(() => this.#running.delete(request.sandboxId));
      if (ids.kind === 'root') void sandbox.ended.then(() => this.#runscUids.delete(ids.runscUid));
      this.#prepareLater(request, sandbox.ended);
      return sandbox;
    } catch (error) {
      for (const step of undo.reverse()) await step().catch(() => undefined);
      this.#running.delete(request.sandboxId);
      await reap(this.#settings, new Set(), [request.sandboxId]).catch(() => undefined);
      throw error;
    }
  }

  async reap(keep: ReadonlySet<SandboxId>): Promise<ReapReport> {
    const report = await reap(this.#settings, new Set([...keep, ...this.#running.keys()]));
    const etc = (await readdir(this.#settings.folder)).filter((name) => name.startsWith('etc-'));
    for (const path of etc.map((name) => join(this.#settings.folder, name)))
      if (path !== this.#host.view.etc) await rm(path, { recursive: true, force: true });
    await this.#folders.reap();
    return { ...report, mounts: report.mounts + (await this.#disks.reap()) };
  }

  async close(): Promise<void> {
    await Promise.all([this.#disks.close(), this.#folders.close()]);
  }

  async openChanges(stateFolder: string): Promise<OpenChanges | undefined> {
    return this.#disks.open(stateFolder);
  }

  async removeChanges(stateFolder: string): Promise<void> {
    await this.#disks.remove(stateFolder);
  }

  /** Formatting and mounting the next disk would take the processor from the sandbox that starts. */
  #prepareLater({ tier, workspace }: SandboxRequest, ended: Promise<unknown>): void {
    // A disk where one was taken: a provider's next sandbox needs none.
    const next =
      workspace?.mode === 'staged' ? () => this.prepare(tier) : async () => this.#folders.prepare();
    const prepare = (): void => void next().catch(() => undefined);
    const later = setTimeout(prepare, limits.spareDelay.value);
    later.unref();
    void ended.then(() => {
      clearTimeout(later);
      // Whoever waits for this end is told first: each process that is started here holds up all else for some milliseconds.
      setTimeout(prepare, limits.spareRest.value).unref();
    });
  }

  async #openChangesDisk(
    request: SandboxRequest,
    undo: (() => Promise<unknown>)[],
  ): Promise<ChangesDisk | undefined> {
    if (request.workspace?.mode !== 'staged') return undefined;
    const bytes = workspaceBytes(request.tier);
    const disk = await this.#disks.create(request.stateFolder, bytes, request.workspace.folder);
    undo.push(async () => disk.close());
    return disk;
  }

  /** Each sandbox has a host uid of its own for runsc's processes, so that two cannot touch one another. */
  #ids(owner: { uid: number; gid: number }): SpecHost['ids'] {
    if (!this.#asRoot) return { kind: 'rootless' };
    let runscUid = randomInt(privateIds.first, privateIds.last);
    while (this.#runscUids.has(runscUid) || runscUid === owner.uid || runscUid === owner.gid)
      runscUid = randomInt(privateIds.first, privateIds.last);
    this.#runscUids.add(runscUid);
    return { kind: 'root', runscUid, owner };
  }
}

const workspaceBytes = (tier: Tier): number => Math.floor(tier.diskBytes * diskShares.workspace);

async function workspaceOwner(request: SandboxRequest): Promise<{ uid: number; gid: number }> {
  const folder = request.workspace?.folder ?? request.folders[0]?.source;
  // Nobody's files are to be seen: an id that nobody has. The kernel's 65534 stands for ids that are not mapped.
  if (folder === undefined) return { uid: privateIds.last, gid: privateIds.last };
  const { uid, gid } = await stat(folder);
  return { uid, gid };
}

async function specWorkspace(
  request: SandboxRequest,
  run: RunFolder,
  hidden: readonly string[],
): Promise<SpecWorkspace | undefined> {
  const { workspace } = request;
  if (workspace === undefined) return undefined;
  if (workspace.mode === 'staged') return { source: `${run.path}/merged`, masked: [], readOnly: [] };
  return {
    source: workspace.folder,
    masked: await masksOf(workspace.folder, hidden),
    readOnly: workspace.readOnly,
  };
}

async function spawned(child: ChildProcess): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) =>
      reject(
        new GloveboxError(
          'GB_SANDBOX_START',
          { detail: 'setpriv (util-linux) could not be started' },
          { cause: error },
        ),
      ),
    );
  });
  return child.pid ?? 0;
}

function linkOf(child: ChildProcess): Socket {
  const link = child.stdio[3];
  if (!(link instanceof Socket))
    throw new GloveboxError('GB_SANDBOX_START', { detail: 'the link was not made' });
  // Handed on unread: bytes read here would be lost to the process that gets the socket.
  link.on('error', () => link.destroy());
  return link;
}

/** gVisor holds a descriptor for each entry of its cache; a low hard limit must leave room for the rest. */
async function dentryCache(): Promise<number> {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1];
  const files = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  return Math.max(1000, Math.min(50_000, Math.floor(files / 2)));
}
