import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { GloveboxError, limits, type TrustDomain } from '../../pure/contracts/index.ts';
import type { BusPublicKeys } from './authorizer.ts';
import { serverConfig, type ClusterInput } from './server-config.ts';

/** An SVID as its holder has it: the key never leaves this process but for a file of mode 0600 that nats-server reads. */
export interface Svid {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
}

export interface NatsServerOptions {
  readonly binary: string;
  /** Of its own, 0700: configuration, certificate and JetStream's files. */
  readonly folder: string;
  readonly name: string;
  readonly port?: number;
  readonly trustDomain: TrustDomain;
  readonly keys: BusPublicKeys;
  readonly svid: Svid;
  /** With `svid` of `busRoutes`. */
  readonly cluster?: ClusterInput & { readonly svid: Svid };
  /** Makes the command a confined one: it needs its own folder, and no other. Signals have to reach the server itself. */
  readonly confine?: (command: readonly [string, ...string[]], folder: string) => readonly string[];
  readonly onLog?: (line: string) => void;
}

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One nats-server process. It dies with this one (pdeathsig); starting it again is the supervisor's job. */
export class NatsServer {
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly exited: Promise<ServerExit>;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #watchers: Set<(line: string) => void>;

  private constructor(
    port: number,
    child: ChildProcess,
    exited: Promise<ServerExit>,
    folder: string,
    watchers: Set<(line: string) => void>,
  ) {
    this.port = port;
    this.exited = exited;
    this.#child = child;
    this.#folder = folder;
    this.#watchers = watchers;
  }

  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const { folder } = options;
    await mkdir(join(folder, 'jetstream'), { recursive: true, mode: 0o700 });
    await writeSvid(svidFiles(folder), options.svid);
    const { cluster } = options;
    if (cluster !== undefined) await writeSvid(svidFiles(folder, 'route'), cluster.svid);
    const config = join(folder, 'nats-server.conf');
    await writePrivate(
      config,
      serverConfig({
        name: options.name,
        port: options.port ?? -1,
        folder: join(folder, 'jetstream'),
        files: svidFiles(folder),
        trustDomain: options.trustDomain,
        keys: options.keys,
        ...(cluster === undefined ? {} : { cluster: { ...cluster, files: svidFiles(folder, 'route') } }),
      }),
    );
    const plain = [options.binary, '-c', config] as const;
    const command = options.confine?.(plain, folder) ?? plain;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: '/usr/bin:/bin' },
    });
    const exited = new Promise<ServerExit>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
    const watchers = new Set<(line: string) => void>();
    if (options.onLog !== undefined) watchers.add(options.onLog);
    createInterface({ input: child.stderr }).on('line', (line) => {
      for (const watcher of [...watchers]) watcher(line);
    });
    try {
      const port = await ready(watchers, exited);
      return new NatsServer(port, child, exited, folder, watchers);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  onExit(listener: (exit: ServerExit) => void): void {
    void this.exited.then(listener);
  }

  /** A renewed certificate: new handshakes use it, open connections stay (R4). Resolves when the server has read it. */
  async rotate(svid: Svid, routeSvid?: Svid): Promise<void> {
    await writeSvid(svidFiles(this.#folder), svid);
    if (routeSvid !== undefined) await writeSvid(svidFiles(this.#folder, 'route'), routeSvid);
    const done = new Promise<void>((resolve, reject) => {
      const watcher = (line: string): void => {
        if (/Reloaded server configuration/.test(line)) settle(resolve);
        if (/Failed to reload server configuration/.test(line)) {
          settle(() => reject(unavailable('it did not take its renewed certificate')));
        }
      };
      const settle = (then: () => void): void => {
        this.#watchers.delete(watcher);
        then();
      };
      this.#watchers.add(watcher);
      void this.exited.then(() => settle(() => reject(unavailable('it ended'))));
    });
    this.#child.kill('SIGHUP');
    await done;
  }

  /** Orderly: SIGTERM, so that JetStream closes its files. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.exited;
  }
}

const unavailable = (detail: string): GloveboxError =>
  new GloveboxError('GB_BUS_UNAVAILABLE', { detail: `nats-server: ${detail}` });

/** The log lines until "Server is ready" come from the server alone: no client is connected yet. */
async function ready(watchers: Set<(line: string) => void>, exited: Promise<ServerExit>): Promise<number> {
  let port: number | undefined;
  let last = '';
  let timer: NodeJS.Timeout | undefined;
  let watcher: ((line: string) => void) | undefined;
  try {
    return await new Promise<number>((resolve, reject) => {
      watcher = (line) => {
        const listening = /Listening for client connections on 127\.0\.0\.1:(\d+)$/.exec(line);
        if (listening?.[1] !== undefined) port = Number(listening[1]);
        if (/\[(FTL|ERR)\]|^nats-server: /.test(line)) last = line;
        if (/Server is ready$/.test(line) && port !== undefined) resolve(port);
      };
      watchers.add(watcher);
      timer = setTimeout(() => reject(unavailable('not ready in time')), limits.busStart.value);
      void exited.then(({ code, signal }) =>
        reject(unavailable(`ended at its start (${signal ?? code ?? 'not found'}) ${last}`)),
      );
    });
  } finally {
    clearTimeout(timer);
    if (watcher !== undefined) watchers.delete(watcher);
  }
}

const svidFiles = (folder: string, name = 'server'): { key: string; chain: string; bundle: string } => ({
  key: join(folder, `${name}.key`),
  chain: join(folder, `${name}.pem`),
  bundle: join(folder, name === 'server' ? 'bundle.pem' : `${name}-bundle.pem`),
});

async function writeSvid(files: ReturnType<typeof svidFiles>, svid: Svid): Promise<void> {
  await writePrivate(files.key, svid.keyPem);
  await writePrivate(files.chain, svid.chainPem);
  await writePrivate(files.bundle, svid.bundlePem);
}

async function writePrivate(path: string, text: string): Promise<void> {
  const next = `${path}.next`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  await rename(next, path);
}
