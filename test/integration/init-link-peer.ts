import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, type Duplex } from 'node:stream';

/** One event that init sent on the control stream. */
export type InitEvent = Record<string, unknown> & { type: string };

/** Where init runs: as a plain process of this machine, or as PID 1 of a real gVisor sandbox. */
export type Place = 'host' | 'gvisor';

/** The trusted side of a link, reduced to what a test needs: it has no policy and no session. */
export class InitPeer {
  readonly #events: InitEvent[] = [];
  readonly #streams = new Map<string, ServerHttp2Stream[]>();
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #wire: Duplex;
  readonly #server: Http2Server;
  #control: ServerHttp2Stream | undefined;
  #changed: (() => void)[] = [];
  onTunnel: (name: string, stream: ServerHttp2Stream) => void = (_name, stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  };
  stderr = '';
  readonly ended: Promise<number | null>;

  constructor(command: { argv: string[]; folder: string }) {
    this.#folder = command.folder;
    const [program = '', ...rest] = command.argv;
    this.#child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.#wire = this.#child.stdio[3] as Duplex;
    this.#child.stdout?.resume();
    const said = new Promise((done) => this.#child.stderr?.on('close', done));
    this.ended = new Promise((resolve) =>
      this.#child.on('exit', (code) => {
        void said.then(() => resolve(code)).then(() => this.#wake());
      }),
    );
    this.#server = createServer({
      maxSessionMemory: 64,
      settings: { initialWindowSize: 1 << 20, maxConcurrentStreams: 1024 },
    });
    this.#server.on('session', (session) => {
      session.setLocalWindowSize(64 << 20);
      session.on('error', () => this.#wake());
    });
    this.#server.on('stream', (stream, headers) => this.#accept(stream, String(headers[':path'])));
  }

  /** The raw socket, for what must be seen before the link begins. */
  get wire(): Duplex {
    return this.#wire;
  }

  async go(): Promise<void> {
    this.#wire.write('G');
    this.#server.emit('connection', this.#wire);
    await this.event('hello');
  }

  send(command: Record<string, unknown>): void {
    this.sendLine(JSON.stringify(command));
  }

  sendLine(line: string): void {
    this.#control?.write(line + '\n');
  }

  /** Starts a program and takes all of its output. */
  async run(
    argv: string[],
    options: { id?: string; stdin?: Buffer; env?: string[]; fd3?: Buffer; cwd?: string } = {},
  ): Promise<{ stdout: Buffer; stderr: Buffer; exited: InitEvent }> {
    const id = options.id ?? 'main';
    this.start(id, argv, options);
    const outcome = await this.event('started|failed', id);
    if (outcome.type === 'failed')
      throw new Error(`${String(outcome['code'])}: ${String(outcome['message'])}`);
    const [stdout, stderr, exited] = await Promise.all([
      this.stream(`/v1/stdio/${id}/stdout`).then(collect),
      this.stream(`/v1/stdio/${id}/stderr`).then(collect),
      this.event('exited', id),
      this.stream(`/v1/stdio/${id}/stdin`).then((stdin) => inPieces(options.stdin).pipe(stdin)),
    ]);
    return { stdout, stderr, exited };
  }

  /** Runs a Python program. */
  python(script: string, id = 'main'): ReturnType<InitPeer['run']> {
    return this.run(['python3', '-c', script], { id });
  }

  start(
    id: string,
    argv: string[],
    options: {
      terminal?: { rows: number; cols: number };
      env?: string[] | undefined;
      fd3?: Buffer | undefined;
      cwd?: string | undefined;
    } = {},
  ): void {
    this.send({
      type: 'start',
      id,
      argv,
      env: ['PATH=/usr/bin:/bin', 'TERM=xterm', 'HOME=/tmp', ...(options.env ?? [])],
      cwd: options.cwd ?? '/tmp',
      terminal: options.terminal ?? null,
      fd3: options.fd3?.toString('base64') ?? null,
    });
  }

  /** The next event of that type (and id) that nobody has taken yet. */
  event(types: string, id?: string): Promise<InitEvent> {
    const wanted = types.split('|');
    return this.#until(`event ${types} ${id ?? ''}`, () => {
      const index = this.#events.findIndex(
        (e) => wanted.includes(e.type) && (id === undefined || e['id'] === id),
      );
      return index < 0 ? undefined : this.#events.splice(index, 1)[0];
    });
  }

  /** Drops the events of a type that came so far. */
  forget(type: string): void {
    const kept = this.#events.filter((event) => event.type !== type);
    this.#events.splice(0, this.#events.length, ...kept);
  }

  /** The next stream that init opened on this path, answered already. */
  stream(path: string): Promise<ServerHttp2Stream> {
    return this.#until(`stream ${path}`, () => this.#streams.get(path)?.shift());
  }

  async close(): Promise<void> {
    if (this.#control?.writable) this.send({ type: 'stop' });
    else this.#wire.destroy();
    await this.ended;
    this.#server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #accept(stream: ServerHttp2Stream, path: string): void {
    stream.on('error', () => this.#wake());
    if (path.startsWith('/v1/tunnel/')) return this.onTunnel(path.slice('/v1/tunnel/'.length), stream);
    stream.respond({ ':status': 200 });
    if (path !== '/v1/control') {
      this.#streams.set(path, [...(this.#streams.get(path) ?? []), stream]);
      return this.#wake();
    }
    this.#control = stream;
    let rest = '';
    stream.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.#events.push(...lines.map((line) => JSON.parse(line) as InitEvent));
      this.#wake();
    });
  }

  async #until<T>(what: string, probe: () => T | undefined): Promise<T> {
    for (;;) {
      const found = probe();
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`init ended while waiting for ${what}: ${this.stderr}`);
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

/** Written at the pace of the stream: what waits in a session counts against its memory, and past that it
 * refuses new streams. */
function inPieces(bytes: Buffer = Buffer.alloc(0)): Readable {
  const piece = 1 << 16;
  const count = Math.ceil(bytes.length / piece);
  return Readable.from(Array.from({ length: count }, (_, i) => bytes.subarray(i * piece, (i + 1) * piece)));
}

/** All that the other side sends. An empty stream may have ended before anybody listened. */
export function collect(stream: ServerHttp2Stream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const done = (): void => {
      stream.end();
      resolve(Buffer.concat(chunks));
    };
    if (stream.readableEnded) return done();
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', done);
    stream.on('aborted', () => reject(new Error('stream was reset')));
  });
}

/** Resolves when the other side has ended its half; what it still sent is dropped. */
export function endOf(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.readableEnded) resolve();
    else stream.on('end', () => resolve()).resume();
  });
}

/** Resolves with all that has come once it matches. Later bytes go to the next call. */
export function expectText(stream: Duplex, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const take = (chunk: Buffer): void => {
      text += chunk.toString();
      if (pattern.test(text)) settle(() => resolve(text));
    };
    const fail = (): void => settle(() => reject(new Error(`ended before ${String(pattern)}: ${text}`)));
    const settle = (done: () => void): void => {
      stream.off('data', take).off('end', fail).pause();
      done();
    };
    stream.on('data', take).on('end', fail).resume();
  });
}

const SANDBOX_UID = 65534;

/** The command line that puts init where it is to run. The sandbox is as DESIGN has it, for what init meets. */
export function commandFor(place: Place, init: string, runsc: string): { argv: string[]; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'gb-init-'));
  if (place === 'host') {
    const user = [`--reuid=${SANDBOX_UID}`, `--regid=${SANDBOX_UID}`, '--clear-groups'];
    return { argv: [...(process.getuid?.() === 0 ? ['setpriv', ...user] : []), init], folder };
  }
  const bind = (path: string, source = path): Record<string, unknown> => ({
    destination: path,
    source,
    type: 'bind',
    options: ['rbind', 'ro'],
  });
  mkdirSync(join(folder, 'root'));
  const tool = process.execPath;
  const spec = {
    ociVersion: '1.0.0',
    process: {
      user: { uid: SANDBOX_UID, gid: SANDBOX_UID },
      args: ['/init'],
      env: [],
      cwd: '/',
      capabilities: {},
      noNewPrivileges: true,
    },
    root: { path: join(folder, 'root'), readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] },
      ...['/usr', '/bin', '/lib', '/lib64'].map((path) => bind(path)),
      bind('/init', init),
      bind('/node', tool),
    ],
    linux: {
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
      seccomp: { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86_64'], syscalls: [] },
    },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(spec));
  const flags = [
    '--network=none',
    '--host-uds=none',
    '--oci-seccomp',
    '--ignore-cgroups',
    `--root=${folder}/state`,
  ];
  const id = `init-${process.pid}-${folder.slice(-6)}`;
  return { argv: [runsc, ...flags, 'run', `--bundle=${folder}`, '--pass-fd=3:3', id], folder };
}
