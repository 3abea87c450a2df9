import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import {
  defaultTrustDomain,
  GloveboxError,
  providerSubscription,
  spiffeId,
  workloadRoutes,
  type AuditRecord,
} from '../../pure/contracts/index.ts';
import {
  AuthCallout,
  BusConnection,
  busOperators,
  ensureAuditStream,
  NatsServer,
  readStored,
} from '../../trusted/bus/index.ts';
import { natsServerPath } from '../../trusted/bus/testing.ts';
import {
  ConnectionRegistry,
  IdentityAuthority,
  MemoryIdentityStore,
  SvidSource,
  systemClock,
} from '../../trusted/identity/index.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
import {
  RequestRate,
  serveRoutes,
  type RouteServer,
  type WorkloadHandlers,
} from '../../trusted/workload-http/index.ts';
import { newId, root } from './sidecar-names.ts';
import { TestSidecar } from './sidecar-process.ts';

export { newId } from './sidecar-names.ts';

/** Everything around a sidecar, real: signer, certificates, workload API, nats-server. Only the control plane's head is the test's. */
export class SidecarWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'glovebox-sidecar-'));
  readonly closers: (() => unknown)[] = [];
  readonly revoked = new Set<string>();
  bundle = '';
  signer!: TestSigner;
  authority!: IdentityAuthority;
  bus!: BusConnection;
  busPort = 0;
  nats!: NatsServer;
  api!: RouteServer;
  onConsent: (
    session: string,
    order: Record<string, unknown>,
  ) => Promise<{ id: string; expiresAt: string; digest: string }> = () =>
    Promise.reject(
      new GloveboxError('GB_LIMIT_REACHED', { limit: 'test', detail: 'no consent in this test' }),
    );
  readonly consumed = new Set<string>();
  onCancel: (id: string) => Promise<boolean> = () => Promise.resolve(false);
  /** What sidecars asked the store of grants for, and whether it says no. */
  readonly uses: unknown[] = [];
  usesRefused = false;

  static async start(): Promise<SidecarWorld> {
    const world = new SidecarWorld();
    world.bundle = await bundleSidecar();
    world.signer = await startTestSigner();
    world.closers.push(() => world.signer.close());
    const { signer } = world.signer;
    world.authority = new IdentityAuthority({ signer, store: new MemoryIdentityStore(), now: Date.now });
    const own = async (id: ReturnType<typeof spiffeId>): Promise<SvidSource> => {
      const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> =>
        world.authority.issueOwn(id, csr);
      const source = await SvidSource.start({ issue, renew: issue, expectedId: id });
      world.closers.push(() => source.close());
      return source;
    };
    const main = await own(spiffeId(defaultTrustDomain, { kind: 'control-plane', replica: 'main' }));
    const busSource = await own(spiffeId(defaultTrustDomain, { kind: 'bus', server: 'local' }));
    const callouts = await own(spiffeId(defaultTrustDomain, busOperators.callout));
    const system = await own(spiffeId(defaultTrustDomain, busOperators.system));
    world.nats = await NatsServer.start({
      binary: natsServerPath,
      folder: join(world.folder, 'nats'),
      name: 'local',
      trustDomain: defaultTrustDomain,
      keys: await signer.busKeys(),
      svid: busSource.current(),
    });
    world.busPort = world.nats.port;
    world.closers.push(() => world.nats.stop());
    const svid = main.current();
    const callout = await AuthCallout.serve({
      address: world.nats,
      svid: callouts.current(),
      system: () => system.current(),
      trustDomain: defaultTrustDomain,
      authorizer: {
        answer: async (sealed, xkey) => await signer.authorizeBus(sealed, xkey, { from: 0, serials: [] }),
      },
    });
    world.closers.push(() => callout.close());
    world.bus = await BusConnection.connect({ address: world.nats, svid, identity: svid.identity });
    world.closers.push(() => world.bus.abort());
    await ensureAuditStream(world.bus);
    world.api = await world.#serve(main);
    world.closers.push(() => world.api.close());
    return world;
  }

  async #serve(identity: SvidSource): Promise<RouteServer> {
    const unused = (): Promise<never> => Promise.reject(new Error('not in this test'));
    const svidOf = (issued: { chainPem: string; bundlePem: string; notAfter: Date }) => ({
      ...issued,
      notAfter: issued.notAfter.toISOString(),
    });
    return await serveRoutes(
      {
        routes: workloadRoutes,
        identity,
        trustDomain: defaultTrustDomain,
        clientCertificate: 'requested',
        connections: new ConnectionRegistry(systemClock),
        rate: new RequestRate('workloadRate', 10_000, Date.now),
        now: Date.now,
        onRefused: () => undefined,
        onError: (error) => console.error(error),
        handlers: handlers({
          join: async ({ body }) => svidOf(await this.authority.join(body.token, body.csr)),
          renew: async ({ caller, body }) => svidOf(await this.authority.renew(caller, body.csr)),
          requestConsent: async ({ caller, body }) =>
            await this.onConsent(caller.identity.kind === 'sidecar' ? caller.identity.session : '', {
              ...body,
            }),
          consumeConsent: ({ body }) => {
            if (this.consumed.has(body.token)) return Promise.reject(new GloveboxError('GB_TOKEN_REPLAYED'));
            this.consumed.add(body.token);
            return Promise.resolve({ grantId: newId() });
          },
          useGrant: ({ body }) => {
            this.uses.push(body);
            return Promise.resolve({ used: !this.usesRefused });
          },
          cancelConsent: async ({ body }) => ({ cancelled: await this.onCancel(body.id) }),
          getSandboxPolicy: unused,
          joinSandbox: unused,
          renewSandbox: unused,
          getSandboxProviderEnvironment: unused,
          reportPolicyStatus: unused,
          secretBindings: unused,
        }),
      },
      0,
    );
  }

  /** A files provider that answers in this process, over its own certificate. */
  async provider(
    answer: (request: { callId: string; args: Record<string, unknown> }, subject: string) => unknown,
  ): Promise<void> {
    const id = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
    const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> =>
      this.authority.issueOwn(id, csr);
    const source = await SvidSource.start({ issue, renew: issue, expectedId: id });
    const svid = source.current();
    const bus = await BusConnection.connect({ address: this.nats, svid, identity: svid.identity });
    this.closers.unshift(() => {
      source.close();
      return bus.abort();
    });
    const { pattern, queue } = providerSubscription('files');
    await bus.subscribe(
      pattern,
      async (message) => {
        const reply = await answer(JSON.parse(message.string()), message.subject);
        if (reply !== undefined) message.respond(JSON.stringify(reply));
      },
      { queue },
    );
  }

  async records(): Promise<(AuditRecord & { sequence: number })[]> {
    const found: (AuditRecord & { sequence: number })[] = [];
    for (let sequence = 1; ; sequence += 1) {
      const stored = await readStored(this.bus, sequence).catch(() => undefined);
      if (stored === undefined) return found;
      found.push({ ...(JSON.parse(Buffer.from(stored.data).toString()) as AuditRecord), sequence });
    }
  }

  async sidecar(): Promise<TestSidecar> {
    const sidecar = await TestSidecar.start(this);
    this.closers.unshift(() => sidecar.kill());
    return sidecar;
  }

  async close(): Promise<void> {
    for (const close of this.closers.splice(0)) await close();
    // A worker of the test runner is ended without its `exit`.
    rmSync(this.bundle, { force: true });
    bundled = undefined;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const handlers = (own: WorkloadHandlers<typeof workloadRoutes>): typeof own => own;

let bundled: Promise<string> | undefined;
/** As the product bundles it, beside node_modules: Cedar's wasm file lies there. */
const bundleSidecar = (): Promise<string> =>
  (bundled ??= (async () => {
    const outfile = join(root, '.build', `test-sidecar-${process.pid}.js`);
    await build({
      absWorkingDir: root,
      entryPoints: ['trusted/sidecar/main.ts'],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.10',
      external: ['@cedar-policy/cedar-wasm'],
      banner: {
        js: `import { createRequire as gbRequire } from 'node:module';const require = gbRequire(import.meta.url);`,
      },
      logLevel: 'error',
    });
    return outfile;
  })());
