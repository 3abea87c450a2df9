import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  asSandboxId,
  asSessionId,
  asTurnId,
  controlSubject,
  defaultTrustDomain,
  sidecarReport,
  spiffeId,
  type AttachCommand,
  type ConsentClaims,
  type SidecarActivate,
  type SidecarCommand,
  type SidecarReport,
} from '../../pure/contracts/index.ts';
import { compileCedar } from '../../pure/compile/index.ts';
import { sidecarFlags } from '../../trusted/control-plane/sidecars/launch.ts';
import { alice, newId, root } from './sidecar-names.ts';
import type { SidecarWorld } from './sidecar-world.ts';

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
    this.child = spawn(process.execPath, [...sidecarFlags, world.bundle], {
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
    this.child.on('message', (report: SidecarReport) => {
      if (report.type === 'input') this.onInput(this.attached.get(report.attachId) ?? 'nobody');
    });
    void this.exited.then(() => {
      for (const changed of this.#changed) changed();
    });
  }

  /** Who each attachment is. */
  readonly attached = new Map<string, string>();
  /** Somebody types whose turn it is not. */
  onInput: (user: string) => void = () => undefined;

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
    const expires_at = Math.floor(Date.now() / 1000) + 3600;
    await this.say({ type: 'turn-open', turn_id: turn, user, expires_at, once_only: false });
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
    // gVisor raises a sandbox's loopback; a new network namespace of Linux has it down.
    const raised = 'ip link set lo up && exec "$0"';
    this.init = spawn('unshare', [...apart, '--', 'sh', '-c', raised, initBinary()], {
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

  async attach(foreground = true, user: string = alice, input = true): Promise<TestClient> {
    const path = join(this.world.folder, `${newId()}.sock`);
    const attachId = newId();
    this.attached.set(attachId, user);
    const server = createServer({ pauseOnConnect: true }, (socket) =>
      this.send({ type: 'attach', attachId, user, input, foreground }, socket),
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
