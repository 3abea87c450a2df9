import { join } from 'node:path';
import { tiers, type EndReason, type SessionView } from '../../pure/contracts/index.ts';
import type { AppliedLimit, SandboxDriver, SandboxEnd as DriverEnd } from '../drivers/index.ts';
import type { RunningSandbox, SandboxEnd, SandboxOrder, SandboxPort } from './ports.ts';

const explainedBy: Readonly<Record<DriverEnd['reason'], EndReason | null>> = {
  exited: null,
  killed: null,
  memory: 'memory-limit',
  disk: 'disk-limit',
  pids: 'process-limit',
  time: 'time-limit',
  crashed: 'sandbox-died',
};

/** Sessions speak of sandboxes, the driver of processes and mounts: this is between them. */
export function sandboxesOf(
  driver: SandboxDriver,
  sessionsFolder: string,
  log: (message: string) => void,
): SandboxPort {
  return {
    start: async (order) => await start(driver, sessionsFolder, order),
    reap: async () => {
      const { sandboxes, left } = await driver.reap(new Set());
      if (sandboxes.length > 0) log(`removed what was left of ${sandboxes.length} sandboxes`);
      for (const line of left) log(`could not remove: ${line}`);
    },
  };
}

/** The second lock: whoever starts a sandbox, an agent's or a provider's, none starts on a host that is not fit (R24). */
export function onlyWhenFit(driver: SandboxDriver, requireFit: () => Promise<void>): SandboxDriver {
  return {
    start: async (request) => {
      await requireFit();
      return await driver.start(request);
    },
    reap: async (keep) => await driver.reap(keep),
    openChanges: async (folder) => await driver.openChanges(folder),
    removeChanges: async (folder) => await driver.removeChanges(folder),
    prepare: async (tier) => await driver.prepare(tier),
    close: async () => await driver.close(),
  };
}

async function start(
  driver: SandboxDriver,
  sessionsFolder: string,
  order: SandboxOrder,
): Promise<RunningSandbox> {
  const sandbox = await driver.start({
    sandboxId: order.sandboxId,
    role: 'agent',
    tier: tiers[order.tier],
    stateFolder: join(sessionsFolder, order.sessionId),
    workspace: {
      folder: order.workspace.path,
      mode: order.workspace.mode,
      show: order.workspace.show,
      readOnly: order.workspace.readOnly,
    },
    toolFolders: order.toolFolders,
    toolMasks: order.toolMasks,
    folders: [],
    ...(order.image === undefined ? {} : { image: order.image }),
    caPem: order.caPem,
    homeFiles: order.homeFiles,
    timeLimitMs: order.timeLimitMs,
  });
  const ended = sandbox.ended.then(endOf);
  return {
    link: sandbox.link,
    over: sandbox.over.then(endOf),
    ended,
    limits: async () => limitsOf(await sandbox.limits()),
    usage: async () => await sandbox.usage(),
    remove: async () => {
      await sandbox.kill();
      return await ended;
    },
  };
}

const endOf = (end: DriverEnd): SandboxEnd => {
  const reason = explainedBy[end.reason];
  return {
    explained: reason === null ? null : { reason, detail: end.detail },
    changed: end.changed,
    full: fullText(end.full),
  };
};

const places = {
  'workspace-disk': '/workspace',
  'tmp-disk': '/tmp',
  'home-disk': 'the home folder',
} as const;
const fullText = (full: DriverEnd['full']): string | null =>
  full.length === 0
    ? null
    : `${full.map(({ limit, value }) => `${places[limit]} was full or nearly so: its tier gives it ${(value / 2 ** 30).toFixed(1)} GiB`).join('; ')}. A larger tier: --tier`;

function limitsOf(applied: readonly AppliedLimit[]): {
  readonly limits: SessionView['limits'];
  readonly weakened: readonly string[];
} {
  return {
    limits: applied.map(({ limit, value, enforced, by }) => ({
      limit,
      value: String(value),
      enforcedBy: enforced ? by : null,
    })),
    weakened: applied
      .filter(({ enforced }) => !enforced)
      .map(({ limit, by }) => `${limit} is not limited: ${by}`),
  };
}
