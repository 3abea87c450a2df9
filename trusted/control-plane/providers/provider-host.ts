import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import {
  asGloveboxError,
  asSandboxId,
  auditText,
  encodeId,
  GloveboxError,
  limits,
  spiffeId,
  tiers,
  type TrustDomain,
} from '../../../pure/contracts/index.ts';
import { foldersPath, providerPath } from '../../../pure/compile/index.ts';
import { forwarderReport, type ForwarderStart } from '../../drivers/forwarder/index.ts';
import type { RunningSandbox, SandboxDriver } from '../../drivers/index.ts';
import type { IdentityAuthority } from '../../identity/index.ts';
import type { RouteAddress } from '../../workload-http/index.ts';
import { hostView } from '../sessions/command.ts';
import { contains } from '../sessions/workspace.ts';
import type { Launch } from '../sidecars/launch.ts';
import { Supervised } from '../supervised.ts';
import type { FolderMount } from './shared-folders.ts';

export interface ProviderHostOptions {
  readonly domain: string;
  /** Its bundle, and the forwarder's. */
  readonly program: string;
  readonly forwarder: string;
  /** Of the provider's own, 0700. */
  readonly folder: string;
  readonly folders: readonly FolderMount[];
  readonly driver: SandboxDriver;
  readonly launch: Launch;
  readonly authority: IdentityAuthority;
  readonly trustDomain: TrustDomain;
  readonly bundlePem: string;
  readonly workloadApi: RouteAddress;
  readonly bus: RouteAddress;
  /** It ended: whoever waits for it waits for nobody. */
  readonly onGone: (domain: string) => void;
  /** Resolves when this host's fitness was looked at again. */
  readonly fitnessChanged: () => Promise<void>;
  readonly log: (message: string, error?: unknown) => void;
}

interface RunningProvider {
  readonly sandbox: RunningSandbox;
  readonly forwarder: ChildProcess;
  readonly ended: Promise<void>;
}

/** Where init listens for the provider; each leads to one address and to no other. */
const listeners = { 'workload-api': 9091, bus: 4222 } as const;
const name = 'main';

/** A provider in a sandbox of its own: its link leads to the bus and the identity routes, and to nothing else (R16). */
export class ProviderHost {
  readonly #supervised: Supervised<RunningProvider>;

  private constructor(supervised: Supervised<RunningProvider>) {
    this.#supervised = supervised;
  }

  static async start(options: ProviderHostOptions): Promise<ProviderHost> {
    return new ProviderHost(
      await Supervised.start({
        name: `the ${options.domain} provider`,
        start: async () => await run(options),
        exited: async (part) => {
          await part.ended;
          options.onGone(options.domain);
          await end(part);
          // What it was is void before another one takes its place.
          await options.authority
            .revoke(identityOf(options))
            .catch((error: unknown) =>
              options.log(`the ${options.domain} provider could not be revoked`, error),
            );
        },
        log: options.log,
      }),
    );
  }

  async stop(): Promise<void> {
    await this.#supervised.stop(end);
  }
}

/** Starts it beside everything else: no run waits for a provider, a call to one that is not there says so. Returns how to end it. */
export function startBeside(options: ProviderHostOptions): () => Promise<void> {
  const stop = new AbortController();
  const starting = (async (): Promise<ProviderHost | undefined> => {
    let said = '';
    const stopped = once(stop.signal, 'abort');
    for (let wait = 500; !stop.signal.aborted; wait = Math.min(wait * 2, limits.restartBackoff.value)) {
      // Listened for before it is tried: a change in between is not missed.
      const changed = options.fitnessChanged();
      try {
        return await ProviderHost.start(options);
      } catch (error) {
        const { code, what, why } = asGloveboxError(error);
        // The same reason again is no news.
        if (said !== `${what} ${why}`)
          options.log(`the ${options.domain} provider could not be started`, error);
        said = `${what} ${why}`;
        const later = delay(wait, undefined, { signal: stop.signal, ref: false }).catch(() => undefined);
        await Promise.race([code === 'GB_HOST_UNFIT' ? stopped : later, changed]);
      }
    }
    return undefined;
  })();
  return async () => {
    stop.abort();
    await (await starting)?.stop();
  };
}

async function end({ sandbox, forwarder }: RunningProvider): Promise<void> {
  await sandbox.kill();
  forwarder.kill('SIGKILL');
}

const identityOf = ({ trustDomain, domain }: ProviderHostOptions) =>
  spiffeId(trustDomain, { kind: 'provider', domain, name });

async function run(options: ProviderHostOptions): Promise<RunningProvider> {
  const { domain, driver, log } = options;
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  const node = await realpath(process.execPath);
  const seen = hostView.some((folder) => contains(folder, node));
  const sandbox = await driver.start({
    sandboxId: asSandboxId(encodeId(randomBytes(16))),
    role: 'provider',
    tier: tiers.starter,
    stateFolder: options.folder,
    toolFolders: seen ? [] : [dirname(node)],
    // What the provider writes belongs to the owner of the first one; sharedFolders sees to it that there is only one owner.
    folders: options.folders,
    program: options.program,
    caPem: '',
    homeFiles: {},
    timeLimitMs: limits.sessionLifetime.value,
  });
  const forwarder = options.launch(options.forwarder, { fds: [] });
  forwarder.stdout?.resume();
  forwarder.stderr?.on('data', (text: Buffer) => log(`forwarder: ${auditText(text.toString('utf8'))}`));
  try {
    const command = await commandOf(options, node);
    const ended = watch(forwarder, sandbox, domain, log);
    await started(forwarder, sandbox, command);
    return { sandbox, forwarder, ended };
  } catch (error) {
    forwarder.kill('SIGKILL');
    await sandbox.kill();
    throw error;
  }
}

/** The join token is made at the last moment: it lives a minute, and the sandbox has to be up to use it. */
async function commandOf(options: ProviderHostOptions, node: string): Promise<ForwarderStart> {
  const bootstrap = {
    joinToken: await options.authority.createJoinToken(identityOf(options)),
    domain: options.domain,
    name,
    trustDomain: options.trustDomain,
    workloadApi: { host: '127.0.0.1', port: listeners['workload-api'] },
    bus: { host: '127.0.0.1', port: listeners.bus },
    bundlePem: options.bundlePem,
    settings: {
      root: foldersPath,
      folders: options.folders.map((folder) => ({ name: folder.name, write: folder.writable })),
    },
  };
  return {
    type: 'start',
    targets: { 'workload-api': { ...options.workloadApi }, bus: { ...options.bus } },
    listen: Object.entries(listeners).map(([tunnel, port]) => ({ address: `127.0.0.1:${port}`, tunnel })),
    command: {
      argv: [node, providerPath],
      env: ['PATH=/usr/bin:/bin', 'HOME=/tmp', 'LANG=C.UTF-8'],
      cwd: '/',
      fd3: Buffer.from(JSON.stringify(bootstrap)).toString('base64'),
    },
  };
}

async function started(
  forwarder: ChildProcess,
  sandbox: RunningSandbox,
  command: ForwarderStart,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (detail: string): void =>
        reject(new GloveboxError('GB_UPSTREAM_FAILED', { what: 'A provider', detail }));
      timer = setTimeout(() => fail('it did not start in time'), limits.providerStart.value);
      forwarder.on('message', (message) => {
        const report = forwarderReport.safeParse(message);
        if (report.success && report.data.type === 'started') resolve();
        if (report.success && report.data.type === 'ended') fail(report.data.detail);
      });
      forwarder.once('exit', () => fail('its forwarder ended'));
      void sandbox.ended.then(({ detail }) => fail(detail));
      forwarder.send(command, sandbox.link, { keepOpen: false }, (error) => {
        if (error !== null) fail(error.message);
      });
    });
  } finally {
    clearTimeout(timer);
  }
}

async function watch(
  forwarder: ChildProcess,
  sandbox: RunningSandbox,
  domain: string,
  log: (message: string) => void,
): Promise<void> {
  await new Promise<void>((resolve) => {
    forwarder.on('message', (message) => {
      const report = forwarderReport.safeParse(message);
      if (!report.success) return;
      // The provider's own words are untrusted, in a log too (R41).
      if (report.data.type === 'line') log(`${domain} provider: ${auditText(report.data.text)}`);
      if (report.data.type === 'ended') {
        log(`the ${domain} provider: ${auditText(report.data.detail)}`);
        resolve();
      }
    });
    forwarder.once('exit', () => resolve());
    void sandbox.ended.then(() => resolve());
  });
}
