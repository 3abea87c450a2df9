import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import {
  asSandboxId,
  asSessionId,
  defaultTrustDomain,
  spiffeId,
  type SessionId,
  type SpiffeId,
} from '../../pure/contracts/index.ts';
import {
  ConnectionRegistry,
  IdentityAuthority,
  MemoryIdentityStore,
  SvidSource,
  type IssuedIdentity,
} from '../../trusted/identity/index.ts';
import { TestClock } from '../../trusted/identity/testing.ts';
import { LinkGateway } from '../../trusted/link-gateway/index.ts';
import { LinkServer, type LinkEnd, type LinkEvent, type LinkRenewal } from '../../trusted/link/index.ts';
import type { TestSigner } from '../../trusted/signer/testing.ts';
import { newId } from '../integration/sidecar-names.ts';

const root = resolve(import.meta.dirname, '../..');
/** The agent's and init's user, where a test may choose one. */
const sandboxUid = 65534;

/** init, built, in a folder that its user can reach. */
export function builtInit(): { readonly init: string; readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'gb-link-'));
  const init = join(folder, 'init');
  execFileSync('go', ['build', '-C', join(root, 'untrusted/init'), '-trimpath', '-o', init, '.'], {
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
  });
  chmodSync(folder, 0o777);
  return { init, folder };
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly stderr: () => string;
}

/** init as a process of this machine, as its own user where this one may choose. */
export function startInit(init: string, args: readonly string[], inherited: boolean): Started {
  const user = [`--reuid=${sandboxUid}`, `--regid=${sandboxUid}`, '--clear-groups', '--'];
  const argv = [...(process.getuid?.() === 0 ? ['setpriv', ...user] : []), init, ...args];
  const [program = '', ...rest] = argv;
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe', inherited ? 'pipe' : 'ignore'] });
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number | null>((done) => child.once('close', (code) => done(code)));
  return { child, ended, stderr: () => stderr };
}

/** One session's gateway over the network, with a real CA behind it, and time that is moved by hand. */
export class GatewayWorld {
  readonly session: SessionId = asSessionId(newId());
  readonly sandbox: SpiffeId;
  readonly clock = new TestClock();
  readonly authority: IdentityAuthority;
  readonly connections = new ConnectionRegistry(this.clock);
  readonly refused: string[] = [];
  /** Of the certificates that came to the gateway for its sandbox. */
  readonly serials: string[] = [];
  readonly closers: (() => unknown)[] = [];
  gateway!: LinkGateway;
  sidecar!: SvidSource;

  private constructor(authority: IdentityAuthority) {
    this.authority = authority;
    this.sandbox = spiffeId(defaultTrustDomain, {
      kind: 'sandbox',
      session: this.session,
      sandbox: asSandboxId(newId()),
    });
    authority.onRevoked((serials) => this.connections.revoke(serials));
  }

  static newAuthority({ signer }: TestSigner): IdentityAuthority {
    return new IdentityAuthority({ signer, store: new MemoryIdentityStore(), now: Date.now });
  }

  static async start(authority: IdentityAuthority): Promise<GatewayWorld> {
    const world = new GatewayWorld(authority);
    const { session, sandbox, connections, clock } = world;
    const id = spiffeId(defaultTrustDomain, { kind: 'sidecar', session });
    const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> => authority.issueOwn(id, csr);
    world.sidecar = await SvidSource.start({ issue, renew: issue, expectedId: id });
    world.gateway = await LinkGateway.listen({
      identity: world.sidecar,
      trustDomain: defaultTrustDomain,
      sandbox,
      connections,
      clock,
      host: '127.0.0.1',
      port: 0,
      relay: {
        join: async (token, csr) => world.#seen(await authority.joinSandbox(session, token, csr)),
        renew: async (serial, csr) => world.#seen(await authority.renewSandbox(session, serial, csr)),
      },
      onRefused: (why) => world.refused.push(why),
    });
    world.closers.push(
      () => world.sidecar.close(),
      () => world.gateway.close(),
    );
    return world;
  }

  #seen({ serial, chainPem }: IssuedIdentity): string {
    this.serials.push(serial);
    return chainPem;
  }

  /** What init is given on a cluster: a file that it may read and remove. */
  async joinFile(folder: string, change: Readonly<Record<string, string>> = {}): Promise<string> {
    const { id, bundlePem } = this.sidecar.current();
    const path = join(mkdtempSync(join(folder, 'join-')), 'join.json');
    const content = {
      gateway: `127.0.0.1:${this.gateway.port}`,
      peer: id,
      bundle: bundlePem,
      token: await this.authority.createJoinToken(this.sandbox),
      ...change,
    };
    writeFileSync(path, JSON.stringify(content));
    if (process.getuid?.() === 0) {
      chownSync(join(path, '..'), sandboxUid, sandboxUid);
      chownSync(path, sandboxUid, sandboxUid);
    }
    return path;
  }

  async close(): Promise<void> {
    for (const close of this.closers.splice(0).reverse()) await close();
  }
}

/** The trusted end of one link, whatever it came over, reduced to what a test needs. */
export class LinkWorld {
  readonly server: LinkServer;
  readonly started: Started;
  readonly ended: Promise<LinkEnd>;
  readonly events: LinkEvent[] = [];
  readonly stdio = new Map<string, Duplex>();
  onTunnel: (name: string, connection: Duplex) => boolean = () => false;
  tick: () => void = () => undefined;
  #changed: (() => void)[] = [];

  constructor(started: Started, socket: Duplex, renewal?: LinkRenewal) {
    this.started = started;
    let end: (end: LinkEnd) => void = () => undefined;
    this.ended = new Promise((done) => (end = done));
    this.server = new LinkServer(
      socket,
      {
        event: (event) => {
          this.events.push(event);
          this.#wake();
        },
        tunnel: (name, connection) => this.onTunnel(name, connection),
        stdio: (id, name, stream) => {
          this.stdio.set(`${id}/${name}`, stream);
          this.#wake();
          return true;
        },
        ended: end,
      },
      {
        renewal,
        ticker: (tick) => {
          this.tick = tick;
          return () => undefined;
        },
      },
    );
    void this.ended.then(() => this.#wake());
  }

  async event(type: string, id?: string): Promise<LinkEvent & { readonly code?: unknown }> {
    return await this.#until(`event ${type}`, () => {
      const index = this.events.findIndex(
        (event) => event.type === type && (id === undefined || ('id' in event && event.id === id)),
      );
      return index < 0 ? undefined : this.events.splice(index, 1)[0];
    });
  }

  async stream(id: string, name: string): Promise<Duplex> {
    return await this.#until(`stream ${id}/${name}`, () => this.stdio.get(`${id}/${name}`));
  }

  start(argv: readonly string[], id = 'main', terminal: { rows: number; cols: number } | null = null): void {
    const env = ['PATH=/usr/bin:/bin', 'TERM=xterm', 'HOME=/tmp'];
    this.server.send({ type: 'start', id, argv, env, cwd: '/tmp', terminal, fd3: null });
  }

  async stop(): Promise<void> {
    this.server.send({ type: 'stop' });
    this.server.close();
    this.started.child.kill('SIGKILL');
    await this.started.ended;
  }

  async #until<T>(what: string, probe: () => T | undefined): Promise<T> {
    let over: LinkEnd | undefined;
    void this.ended.then((end) => (over = end));
    for (;;) {
      const found = probe();
      if (found !== undefined) return found;
      if (over !== undefined)
        throw new Error(`the link ended (${over.detail}) before ${what}: ${this.started.stderr()}`);
      await new Promise<void>((done) => this.#changed.push(done));
    }
  }

  #wake(): void {
    for (const done of this.#changed.splice(0)) done();
  }
}

/** All that a stream gives, to its end; its other half stays open. */
export async function collect(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return await new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => resolve(Buffer.concat(chunks)));
    stream.once('error', reject);
  });
}
