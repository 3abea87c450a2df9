import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { AuditRecord } from '../../pure/contracts/index.ts';
import { exportLine } from '../../pure/verify/index.ts';
import { startPostgres, type PostgresServer } from '../../trusted/store/testing.ts';
import { Upstream } from './upstream.ts';
import { descendants, opened, type Process } from './remains.ts';
import { World } from './world.ts';

/** Mulberry32: a seed gives one order of events, which a failure prints. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** One run of the agent, and what it said of each operation. */
export interface Working {
  readonly name: string;
  readonly answers: Map<string, string>;
  readonly closed: Promise<number | null>;
  readonly isOver: () => boolean;
  readonly words: () => string;
}

/** A machine on which an agent writes shared files and posts to an outside host, which counts what it gets. */
export class CrashWorld {
  readonly world = new World(['api.example']);
  readonly upstream: Upstream;
  readonly #store: PostgresServer;
  readonly #notes: string;
  #runs = 0;

  private constructor(upstream: Upstream, store: PostgresServer) {
    this.upstream = upstream;
    this.#store = store;
    const { world } = this;
    this.#notes = join(world.home, '.local/share/glovebox/shared/notes');
    mkdirSync(this.#notes, { recursive: true, mode: 0o700 });
    copyFileSync(join(import.meta.dirname, 'crash-inside.py'), join(world.project, 'crash-inside.py'));
    writeFileSync(join(world.folder, 'ca.pem'), upstream.caPem);
    writeFileSync(
      join(world.folder, 'policy.yaml'),
      `version: 1
tools:
  allow: ['files:write:/shared/notes/**']
egress:
  - host: api.example
    port: ${String(upstream.port)}
    methods: [POST]
    paths: [/open/**]
    caFile: ${join(world.folder, 'ca.pem')}
    privateRanges: [127.0.0.0/8]
    credential: { secret: key, carrier: 'header:x-api-key' }
`,
    );
  }

  static async open(): Promise<CrashWorld> {
    const store = await startPostgres();
    const crashes = new CrashWorld(await Upstream.start(['api.example']), store);
    const up = await crashes.world.glovebox(['up', '--store', (await store.database()).url]);
    if (up.code !== 0) throw new Error(up.err);
    await crashes.world.waive();
    const { code, err } = await crashes.world.glovebox(['secret', 'set', 'key'], { input: 'not-a-real-key' });
    if (code !== 0) throw new Error(err);
    return crashes;
  }

  work(count: number): Working {
    this.#runs += 1;
    const name = `run${String(this.#runs)}`;
    const policy = join(this.world.folder, 'policy.yaml');
    const command = [
      'python3',
      '/workspace/crash-inside.py',
      name,
      String(count),
      String(this.upstream.port),
    ];
    const child = this.world.start(['run', '--name', name, '--policy', policy, '--', ...command]);
    child.stdin?.end();
    const answers = new Map<string, string>();
    let words = '';
    if (child.stdout === null || child.stderr === null) throw new Error('no pipes');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = /^@@(\S+) (.*)$/.exec(line);
      if (said?.[1] !== undefined) answers.set(said[1], said[2] ?? '');
      else words += `${line}\n`;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
    let over = false;
    const closed = new Promise<number | null>((resolve) =>
      child.on('close', (code) => {
        over = true;
        resolve(code);
      }),
    );
    return { name, answers, closed, isOver: () => over, words: () => words };
  }

  /** Effects that happened, by name: how often. */
  effects(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    const count = (name: string): unknown => found.set(name, (found.get(name) ?? 0) + 1);
    for (const { path } of this.upstream.seen) count(path.replace('/open/', ''));
    for (const file of readdirSync(this.#notes)) if (file.endsWith('.txt')) count(file.slice(0, -4));
    return found;
  }

  /** The whole trail, as a person exports it. */
  async trail(): Promise<{ readonly file: string; readonly records: readonly AuditRecord[] }> {
    const { out, err, code } = await this.world.glovebox(['audit', 'export']);
    if (code !== 0) throw new Error(err);
    const file = join(this.world.folder, 'audit.jsonl');
    writeFileSync(file, out);
    const lines = out.split('\n').filter((line) => line !== '');
    const parsed = lines.map((line) => exportLine.parse(JSON.parse(line)));
    return { file, records: parsed.flatMap((line) => (line.type === 'record' ? [line.record] : [])) };
  }

  async part(victim: Victim, daemon: number): Promise<Process | undefined> {
    const all = descendants(daemon);
    if (victim === 'control-plane') return { pid: daemon, parent: 0, title: 'control plane' };
    if (victim === 'store') return { pid: this.#store.pid, parent: 0, title: 'PostgreSQL' };
    if (victim === 'sidecar') return await this.#sidecar(all);
    return all.find(({ title }) => titles[victim].test(title));
  }

  /** Who keeps the store is not ours to start again: its own supervisor does. */
  async storeAgain(): Promise<void> {
    await this.#store.kill();
    await this.#store.start();
  }

  async #sidecar(all: readonly Process[]): Promise<Process | undefined> {
    const { id } = await this.world.session(`run${String(this.#runs)}`);
    const holds = (pid: number): boolean => opened(pid).some((path) => path.includes(`${id}/output.log`));
    return all.find(({ pid, title }) => title === 'glovebox-sidecar' && holds(pid));
  }

  async close(): Promise<void> {
    await this.world.close();
    this.upstream.close();
    await this.#store.close();
  }
}

const titles = {
  'nats-server': /nats-server -c|nats-server$/,
  signer: /^glovebox-signer/,
  'secret-broker': /^glovebox-secret-broker/,
  'provider-forwarder': /^glovebox-forwarder/,
  // Its sandbox is the oldest that there is: it was there before the session's.
  provider: /runsc .*run |runsc-sandbox/,
} as const;
export type Victim = keyof typeof titles | 'sidecar' | 'control-plane' | 'store';
export const victims: readonly Victim[] = [
  'nats-server',
  'signer',
  'secret-broker',
  'provider-forwarder',
  'provider',
  'sidecar',
  'control-plane',
  'store',
];
