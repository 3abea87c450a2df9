import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, connect as connectSocket, type Server, type Socket } from 'node:net';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';
import {
  asSandboxId,
  asSessionId,
  asTurnId,
  asUserId,
  controlSubject,
  defaultTrustDomain,
  encodeId,
  GloveboxError,
  providerSubscription,
  sidecarReport,
  spiffeId,
  workloadRoutes,
  type AttachCommand,
  type AuditRecord,
  type ConsentClaims,
  type SidecarActivate,
  type SidecarCommand,
  type SidecarReport,
} from '../../pure/contracts/index.ts';
import { compileCedar } from '../../pure/compile/index.ts';
import {
  AuthCallout,
  BusConnection,
  createAuthorizer,
  createBusKeys,
  ensureAuditStream,
  NatsServer,
  publicKeys,
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
import { randomBytes } from 'node:crypto';

const root = new URL('../../', import.meta.url).pathname;
export const newId = (): string => encodeId(randomBytes(16));
export const alice = asUserId('local/1000');

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
    const keys = createBusKeys();
    world.nats = await NatsServer.start({
      binary: natsServerPath,
      folder: join(world.folder, 'nats'),
      name: 'local',
      keys: publicKeys(keys),
      svid: busSource.current(),
    });
    world.busPort = world.nats.port;
    world.closers.push(() => world.nats.stop());
    const svid = main.current();
    const callout = await AuthCallout.serve({
      address: world.nats,
      svid,
      trustDomain: defaultTrustDomain,
      keys,
      authorizer: createAuthorizer({
        keys: keys.authorizer,
        trustDomain: defaultTrustDomain,
        isRevoked: () => false,
        now: () => new Date(),
        onDecision: () => undefined,
      }),
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
        rate: new RequestRate('workloadRate' as never, 10_000, Date.now),
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
          getSandboxPolicy: unused,
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
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One real sidecar process, with the real init at the other end of its link when it is activated. */
export class TestSidecar {
  readonly session = asSessionId(newId());
  readonly sandbox = asSandboxId(newId());
  readonly turn = asTurnId(newId());
  readonly reports: SidecarReport[] = [];
  readonly log: string[] = [];
  readonly exited: Promise<number | null>;
  readonly logPath: string;
  readonly world: SidecarWorld;
  readonly child: ChildProcess;
  init: ChildProcess | undefined;
  #seq = 0;
  #changed = new Set<() => void>();
  #server: Server | undefined;

  private constructor(world: SidecarWorld) {
    this.world = world;
    this.logPath = join(world.folder, `${this.session}.log`);
    const log = openSync(this.logPath, 'a', 0o600);
    this.child = spawn(process.execPath, [world.bundle], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', log],
      env: {},
      serialization: 'json',
    });
    closeSync(log);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => this.log.push(line));
    }
    this.child.on('message', (message) => {
      this.reports.push(sidecarReport.parse(message));
      for (const changed of this.#changed) changed();
    });
    this.exited = new Promise((resolve) => this.child.once('exit', (code) => resolve(code)));
    void this.exited.then(() => {
      for (const changed of this.#changed) changed();
    });
  }

  static async start(world: SidecarWorld): Promise<TestSidecar> {
    const sidecar = new TestSidecar(world);
    const address = { host: '127.0.0.1', port: world.busPort };
    sidecar.send({
      type: 'bootstrap',
      sessionId: sidecar.session,
      sandboxId: sidecar.sandbox,
      trustDomain: defaultTrustDomain,
      joinToken: await world.authority.createJoinToken(sidecar.id),
      workloadApi: { host: world.api.host, port: world.api.port },
      bus: address,
      secretBroker: address,
      bundlePem: await world.signer.signer.bundle(),
      publicKeys: await world.signer.signer.publicKeys(),
    });
    await sidecar.report('warm');
    return sidecar;
  }

  get id(): ReturnType<typeof spiffeId> {
    return spiffeId(defaultTrustDomain, { kind: 'sidecar', session: this.session });
  }

  send(command: SidecarCommand, handle?: Socket): void {
    this.child.send(command, handle);
  }

  /** Waits for a report of this type; fails where the sidecar ends without. */
  async report<T extends SidecarReport['type']>(
    type: T,
    fits: (report: Extract<SidecarReport, { type: T }>) => boolean = () => true,
  ): Promise<Extract<SidecarReport, { type: T }>> {
    type Wanted = Extract<SidecarReport, { type: T }>;
    for (;;) {
      const found = this.reports.find(
        (report): report is Wanted => report.type === type && fits(report as Wanted),
      );
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(
          `the sidecar ended without ${type}: ${this.log.join('\n')} ${JSON.stringify(this.reports)}`,
        );
      }
      await new Promise<void>((resolve) => {
        const changed = (): void => {
          this.#changed.delete(changed);
          resolve();
        };
        this.#changed.add(changed);
      });
    }
  }

  /** A signed word of the control plane. */
  async say(words: Record<string, unknown> & { type: string }): Promise<void> {
    this.#seq += 1;
    const payload = {
      session_id: this.session,
      seq: this.#seq,
      iat: Math.floor(Date.now() / 1000),
      ...words,
    };
    await this.publishControl(await this.world.signer.signer.signControl(payload));
  }

  async publishControl(token: string): Promise<void> {
    await this.world.bus.publish(controlSubject(this.session), token);
  }

  async openTurn(user = alice, turn: string = this.turn): Promise<void> {
    await this.say({ type: 'turn-open', turn_id: turn, user });
  }

  async signConsent(claims: Partial<ConsentClaims>): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return await this.world.signer.signer.signConsent({
      iss: spiffeId(defaultTrustDomain, { kind: 'signer' }),
      aud: this.id,
      sub: alice,
      session_id: this.session,
      sandbox_id: this.sandbox,
      scope: 'files:write:/shared/a',
      challenge_id: newId(),
      args_hash: '0'.repeat(64),
      turn_id: this.turn,
      mode: 'once',
      digest: 'd',
      jti: newId(),
      iat: now,
      exp: now + 300,
      ...claims,
    });
  }

  activate(
    argv: string[],
    more: Partial<SidecarActivate> & { tools?: { allow: string[]; ask: string[] }; terminal?: boolean } = {},
  ): void {
    const { tools = { allow: [], ask: [] }, terminal = false, ...rest } = more;
    // In a network of its own: each session has the same two loopback ports.
    const apart = process.getuid?.() === 0 ? ['-n'] : ['-Urn'];
    this.init = spawn('unshare', [...apart, '--', initBinary()], {
      stdio: ['ignore', 'inherit', 'pipe', 'pipe'],
    });
    this.init.stderr?.resume();
    const link = this.init.stdio[3] as Socket;
    this.send(
      {
        type: 'activate',
        policy: { generation: 1, cedar: compileCedar(tools), egress: [], tools, placeholders: {} },
        user: alice,
        sessionName: 'test',
        outputLogFd: 4,
        command: {
          argv,
          env: ['PATH=/usr/bin:/bin'],
          cwd: '/',
          terminal: terminal ? { rows: 24, cols: 80 } : null,
        },
        stdin: true,
        waitForAttach: false,
        expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
        ...rest,
      },
      link,
    );
  }

  async attach(foreground = true): Promise<TestClient> {
    const path = join(this.world.folder, `${newId()}.sock`);
    const server = createServer({ pauseOnConnect: true }, (socket) =>
      this.send({ type: 'attach', attachId: newId(), user: alice, foreground }, socket),
    );
    server.listen(path);
    await once(server, 'listening');
    const socket = connectSocket(path);
    await once(socket, 'readable');
    const byte = (socket.read(1) as Buffer).toString();
    if (byte !== 'G') throw new Error(`the sidecar began with ${byte}`);
    server.close();
    return new TestClient(socket);
  }

  kill(): void {
    this.child.kill('SIGKILL');
    this.init?.kill('SIGKILL');
    this.#server?.close();
  }
}

export class TestClient {
  readonly session: ClientHttp2Session;
  readonly control: ClientHttp2Stream;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    this.session = connect('http://attach', {
      createConnection: () => socket,
      settings: { initialWindowSize: 1 << 20 },
    });
    this.session.on('error', () => undefined);
    this.control = this.open('/v1/control');
  }

  open(path: string, options: { endStream?: boolean } = {}): ClientHttp2Stream {
    const stream = this.session.request({ ':method': 'POST', ':path': path }, options);
    stream.on('error', () => undefined);
    return stream;
  }

  output(name: 'stdout' | 'stderr'): ClientHttp2Stream {
    return this.open(`/v1/stdio/${name}`, { endStream: true });
  }

  send(command: AttachCommand): void {
    this.control.write(`${JSON.stringify(command)}\n`);
  }

  /** All events, to the end of the connection. */
  async events(): Promise<Record<string, unknown>[]> {
    const text = await read(this.control);
    return text
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

export async function read(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
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
    process.once('exit', () => rmSync(outfile, { force: true }));
    return outfile;
  })());

function initBinary(): string {
  const built = join(root, 'dist/init');
  if (existsSync(built)) return built;
  const own = join(root, '.build/test-init');
  execFileSync('go', ['build', '-trimpath', '-o', own, '.'], {
    cwd: join(root, 'untrusted/init'),
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
  });
  return own;
}
