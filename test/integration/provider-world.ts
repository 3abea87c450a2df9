import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import {
  asSessionId,
  defaultTrustDomain,
  providerReply,
  providerSubject,
  spiffeId,
  type ProviderReply,
  type SessionId,
} from '../../pure/contracts/index.ts';
import { BusConnection } from '../../trusted/bus/index.ts';
import { launchPlain } from '../../trusted/control-plane/sidecars/launch.ts';
import { startBeside } from '../../trusted/control-plane/providers/provider-host.ts';
import type { FolderMount } from '../../trusted/control-plane/providers/shared-folders.ts';
import { createGvisorDriver, type RunningSandbox, type SandboxDriver } from '../../trusted/drivers/index.ts';
import { IdentityAuthority, MemoryIdentityStore, SvidSource } from '../../trusted/identity/index.ts';
import { findRunsc } from './driver-world.ts';
import { newId, SidecarWorld } from './sidecar-world.ts';

const root = new URL('../../', import.meta.url).pathname;

/** As the product bundles it: one file. */
export async function bundle(entry: string, folder: string, name: string): Promise<string> {
  const outfile = join(folder, name);
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.10',
    banner: {
      js: `import { createRequire as gbRequire } from 'node:module';const require = gbRequire(import.meta.url);`,
    },
    logLevel: 'error',
  });
  return outfile;
}

/** The driver, and what it started: the test looks at them from outside. */
interface Seen {
  readonly driver: SandboxDriver;
  readonly sandboxes: RunningSandbox[];
}

/** A real provider in a real sandbox, over the real bus, signer and workload API of a SidecarWorld. */
export class ProviderWorld {
  readonly base: SidecarWorld;
  readonly folder: string;
  readonly log: string[];
  readonly forwarders: number[] = [];
  readonly #seen: Seen;
  readonly #longLived: IdentityAuthority;
  readonly #programs: { readonly forwarder: string };

  private constructor(base: SidecarWorld, seen: Seen, forwarder: string, log: string[]) {
    this.log = log;
    this.base = base;
    this.folder = base.folder;
    this.#longLived = base.authority;
    this.#seen = seen;
    this.#programs = { forwarder };
  }

  static async start(): Promise<ProviderWorld> {
    const base = await SidecarWorld.start();
    const [driver, forwarder] = await Promise.all([
      createGvisorDriver({
        runsc: findRunsc(),
        init: join(root, 'dist/init'),
        folder: join(base.folder, 'sandboxes'),
        platform: 'systrap',
      }),
      bundle('trusted/drivers/forwarder/main.ts', base.folder, 'provider-forwarder.mjs'),
    ]);
    const sandboxes: RunningSandbox[] = [];
    const log: string[] = [];
    const watched: SandboxDriver = new Proxy(driver, {
      get: (target, key) => {
        if (key !== 'start') return Reflect.get(target, key).bind(target) as unknown;
        return async (...given: Parameters<SandboxDriver['start']>) => {
          const sandbox = await target.start(...given);
          sandboxes.push(sandbox);
          void sandbox.ended.then(({ reason, detail }) => log.push(`sandbox: ${reason}, ${detail}`));
          return sandbox;
        };
      },
    });
    return new ProviderWorld(base, { driver: watched, sandboxes }, forwarder, log);
  }

  get sandboxes(): readonly RunningSandbox[] {
    return this.#seen.sandboxes;
  }

  /** From here on certificates live this long; those that were issued before keep theirs. */
  shortLives(ttlSeconds: number): void {
    const { signer } = this.base.signer;
    this.base.authority = new IdentityAuthority({
      signer,
      store: new MemoryIdentityStore(),
      now: Date.now,
      ttlSeconds,
    });
  }

  share(name: string, writable: boolean): FolderMount {
    const source = join(this.folder, 'shared', name);
    mkdirSync(source, { recursive: true, mode: 0o755 });
    return { name, source, writable };
  }

  /** Starts it as the control plane does; returns how to end it. */
  async provider(
    program: string,
    folders: readonly FolderMount[],
    domain = 'files',
  ): Promise<() => Promise<void>> {
    const { base } = this;
    const { authority } = base;
    const stop = startBeside({
      domain,
      program,
      forwarder: this.#programs.forwarder,
      folder: join(this.folder, 'provider'),
      folders,
      driver: this.#seen.driver,
      launch: (entry, options) => {
        const child = launchPlain(entry, options);
        if (child.pid !== undefined) this.forwarders.push(child.pid);
        return child;
      },
      authority,
      trustDomain: defaultTrustDomain,
      onGone: () => undefined,
      fitnessChanged: () => new Promise<void>(() => undefined),
      bundlePem: await base.signer.signer.bundle(),
      workloadApi: { host: base.api.host, port: base.api.port },
      bus: { host: '127.0.0.1', port: base.busPort },
      log: (message, error) => {
        this.log.push(error instanceof Error ? `${message}: ${error.message}` : message);
      },
    });
    base.closers.unshift(stop);
    return stop;
  }

  /** A connection as a sidecar has it. */
  async sidecarBus(): Promise<{ readonly session: SessionId; readonly bus: BusConnection }> {
    const session = asSessionId(newId());
    return { session, bus: await this.connect({ kind: 'sidecar', session }) };
  }

  async connect(workload: Parameters<typeof spiffeId>[1]): Promise<BusConnection> {
    const id = spiffeId(defaultTrustDomain, workload);
    const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> =>
      this.#longLived.issueOwn(id, csr);
    const source = await SvidSource.start({ issue, renew: issue, expectedId: id });
    const svid = source.current();
    const bus = await BusConnection.connect({
      address: { host: '127.0.0.1', port: this.base.busPort },
      svid,
      identity: svid.identity,
    });
    this.base.closers.unshift(() => {
      source.close();
      return bus.abort();
    });
    return bus;
  }

  async close(): Promise<void> {
    await this.base.close();
    await this.#seen.driver.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function ask(
  bus: BusConnection,
  session: SessionId,
  operation: string,
  args: Record<string, unknown>,
  domain = 'files',
): Promise<ProviderReply> {
  const request = JSON.stringify({ callId: newId(), args });
  const answer = await bus.request(providerSubject(domain, operation, session), request);
  return providerReply.parse(answer.json());
}

/** Until it does not throw; fails with the last error. */
export async function eventually<T>(attempt: () => Promise<T>, waitMs = 180_000): Promise<T> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
