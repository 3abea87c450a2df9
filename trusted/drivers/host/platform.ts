import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { asSandboxId, encodeId, limits, tiers } from '../../../pure/contracts/index.ts';
import { platforms, type HostFacts, type Platform } from '../../../pure/host/index.ts';
import { createGvisorDriver } from '../gvisor/driver.ts';
import { reap } from '../gvisor/reap.ts';
import type { RunningSandbox, SandboxDriver } from '../port.ts';
import { attempt } from './attempt.ts';

export interface PlatformProbe {
  readonly runsc: string;
  readonly init: string;
  /** The driver's folder; the answer is kept beside what it keeps. */
  readonly folder: string;
  readonly apparmor: boolean;
  readonly timeoutMs?: number;
}

type Found = Pick<HostFacts, 'runsc' | 'platform'>;

/** Whatever of this changes may change the answer: another boot (kernel, virtual machine), another runsc, another user. */
interface Key {
  readonly boot: string;
  readonly runsc: string;
  readonly changed: string;
  readonly init: string;
  readonly uid: number;
  readonly apparmor: boolean;
}
const kept = z.strictObject({
  key: z.string(),
  version: z.string(),
  name: z.enum(platforms),
  ms: z.number(),
  failed: z.array(z.strictObject({ name: z.enum(platforms), said: z.string() })),
});

/** systrap first: kvm hangs on virtual machines without nested virtualisation. Only a success is remembered. */
export async function findPlatform(probe: PlatformProbe): Promise<Found> {
  const file = await stat(probe.runsc).catch(() => undefined);
  const nowhere = { chosen: null, failed: [] };
  if (file === undefined)
    return { runsc: { missing: `there is no runsc at ${probe.runsc}` }, platform: nowhere };
  const key: Key = {
    boot: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    runsc: probe.runsc,
    changed: `${file.size} ${file.mtimeMs}`,
    init: probe.init,
    uid: process.geteuid?.() ?? -1,
    apparmor: probe.apparmor,
  };
  const keptIn = join(probe.folder, 'platform.json');
  const before = await recall(keptIn, JSON.stringify(key));
  if (before !== undefined) return before;
  const { attempt: asked, output } = await attempt(probe.runsc, ['--version']);
  if (!asked.works) return { runsc: { missing: `runsc does not run: ${asked.said}` }, platform: nowhere };
  // A build from the module's source names no version of its own; the folder that it lies in does.
  const named = /^runsc version (\S+)/m.exec(output)?.[1] ?? 'of unknown version';
  const version = named === 'VERSION_MISSING' ? 'built from source' : named;
  const failed: { name: Platform; said: string }[] = [];
  for (const name of platforms) {
    if (name === 'kvm' && !(await kvmIsThere())) continue;
    const tried = await tryPlatform(probe, name);
    if ('ms' in tried) {
      const answer = { key: JSON.stringify(key), version, name, ms: tried.ms, failed };
      const fresh = `${keptIn}.${randomBytes(8).toString('hex')}`;
      await writeFile(fresh, JSON.stringify(answer), { mode: 0o600 });
      await rename(fresh, keptIn);
      return foundFrom(probe.runsc, answer);
    }
    failed.push({ name, said: tried.said });
  }
  return { runsc: { path: probe.runsc, version }, platform: { chosen: null, failed } };
}

const foundFrom = (path: string, { version, name, ms, failed }: z.infer<typeof kept>): Found => ({
  runsc: { path, version },
  platform: { chosen: { name, ms }, failed },
});

/** A file that is damaged, or of another version of this program, is as good as none. */
async function recall(path: string, key: string): Promise<Found | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const read = kept.safeParse(value);
  if (!read.success || read.data.key !== key) return undefined;
  const { runsc } = z.object({ runsc: z.string() }).parse(JSON.parse(key));
  return foundFrom(runsc, read.data);
}

const kvmIsThere = async (): Promise<boolean> =>
  access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );

/** A whole sandbox, by the driver's own path, in a folder of its own; it works once its init speaks on the link. */
async function tryPlatform(
  probe: PlatformProbe,
  platform: Platform,
): Promise<{ readonly ms: number } | { readonly said: string }> {
  const folder = await mkdtemp(join(probe.folder, `probe-${process.pid}-`));
  let sandbox: RunningSandbox | undefined;
  let driver: SandboxDriver | undefined;
  try {
    const { runsc, init, apparmor } = probe;
    const workspace = join(folder, 'workspace');
    await mkdir(workspace);
    driver = await createGvisorDriver({ runsc, init, folder, platform, apparmor });
    const started = performance.now();
    sandbox = await driver.start({
      sandboxId: asSandboxId(encodeId(randomBytes(16))),
      role: 'agent',
      workspace: { folder: workspace, mode: 'direct', show: [], readOnly: [] },
      tier: tiers.starter,
      stateFolder: folder,
      toolFolders: [],
      folders: [],
      caPem: '',
      homeFiles: {},
      timeLimitMs: probe.timeoutMs ?? limits.hostProbe.value,
    });
    const said = await firstWord(sandbox);
    return said === null ? { ms: Math.round(performance.now() - started) } : { said };
  } catch (error) {
    return { said: error instanceof Error && 'why' in error ? String(error.why) : String(error) };
  } finally {
    await sandbox?.kill();
    await driver?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a probe left that was killed [R46]. One process at a time owns the folder, so another's pid is a dead one's. */
export async function reapProbes(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^probe-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || Number(pid) === process.pid) continue;
    const left = join(folder, name);
    await reap({ folder: left }, new Set());
    await rm(left, { recursive: true, force: true });
  }
}

/** Null: init spoke. The sandbox's own time limit ends what hangs, and that is an end like any other. */
const firstWord = async (sandbox: RunningSandbox): Promise<string | null> =>
  await new Promise((resolve) => {
    sandbox.link.once('data', () => resolve(null));
    void sandbox.ended.then(({ detail }) => resolve(detail));
    sandbox.link.write('G');
  });
