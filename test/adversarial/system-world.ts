import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { ConsentQuestion } from '../../pure/contracts/index.ts';
import { descendants } from '../e2e/remains.ts';
import { until } from '../e2e/until.ts';
import type { World } from '../e2e/world.ts';

/** What the agent API answers. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export const codeOf = ({ body }: Answer): string | undefined =>
  typeof body === 'object' && body !== null && 'error' in body
    ? (body.error as { code?: string }).code
    : undefined;

/** A session whose agent does what the test tells it. */
export class HostileSession {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  err = '';
  readonly #answers: string[] = [];
  #busy: Promise<unknown> = Promise.resolve();
  readonly #world: World;

  constructor(world: World, name: string, args: readonly string[]) {
    this.#world = world;
    this.name = name;
    this.child = world.start([
      'run',
      '--name',
      name,
      ...args,
      '--',
      'python3',
      '-u',
      '/workspace/system-inside.py',
    ]);
    const { stdout, stderr } = this.child;
    if (stdout === null || stderr === null) throw new Error('no pipes');
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.startsWith('@@')) this.#answers.push(line.slice(2));
    });
    stderr.setEncoding('utf8').on('data', (text: string) => (this.err += text));
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  /** Tells the agent what to try, and waits for what came of it. */
  do<T>(what: string, given: Record<string, unknown> = {}, withinMs = 90_000): Promise<T> {
    const work = this.#busy.then(async () => {
      this.tell(what, given);
      const line = await until(
        `${this.name} has tried ${what} (${this.err.slice(-300)})`,
        () => this.#answers.shift(),
        withinMs,
      );
      const said = JSON.parse(line) as { readonly ok?: T; readonly error?: string };
      if (said.error !== undefined) throw new Error(`${what}: ${said.error}`);
      return said.ok as T;
    });
    this.#busy = work.catch(() => undefined);
    return work;
  }

  tell(what: string, given: Record<string, unknown> = {}): void {
    this.child.stdin?.write(`${JSON.stringify({ do: what, ...given })}\n`);
  }

  api(given: Record<string, unknown> = {}): Promise<Answer> {
    return this.do<Answer>('api', given);
  }

  async id(): Promise<string> {
    return (await this.#world.session(this.name)).id;
  }

  /** Asks for a scope, has it approved as a person does from another terminal, and returns what the agent was told. */
  async granted(
    scope: string,
    mode: 'once' | 'session',
    more: Record<string, unknown> = {},
  ): Promise<Answer> {
    const id = `${scope} ${String(Math.random())}`;
    await this.do('ask', { id, scope, reason: 'because', ...more });
    const question = await this.question(scope);
    const answer = ['approve', question.id, '--digest', question.digest];
    const { code, err } = await this.#world.glovebox(mode === 'session' ? [...answer, '--session'] : answer);
    if (code !== 0) throw new Error(`approve: ${err}`);
    return await until(
      'the agent is told',
      async () => (await this.do<Answer | null>('answered', { id })) ?? undefined,
    );
  }

  question(scope: string): Promise<ConsentQuestion> {
    return until(`a question for ${scope}`, async () =>
      (await questions(this.#world)).find(
        (question) => question.scope === scope && question.sessionName === this.name,
      ),
    );
  }
}

export const questions = async (world: World): Promise<ConsentQuestion[]> =>
  JSON.parse((await world.glovebox(['approve', '--json'])).out) as ConsentQuestion[];

/** Every TCP port that the control plane and what it started listen on. */
export function listeningPorts(daemon: number): number[] {
  const inodes = new Map<string, number>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6'])
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === '0A' && local !== undefined && inode !== undefined)
        inodes.set(`socket:[${inode}]`, Number.parseInt(local.split(':')[1] ?? '', 16));
    }
  const ports = new Set<number>();
  for (const pid of [daemon, ...descendants(daemon).map((process) => process.pid)])
    for (const target of descriptorsOf(pid)) {
      const port = inodes.get(target);
      if (port !== undefined) ports.add(port);
    }
  return [...ports].sort((a, b) => a - b);
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${String(pid)}/fd`).map((fd) =>
      readlinkSync(join(`/proc/${String(pid)}/fd`, fd)),
    );
  } catch {
    // A process that ended while it was looked at, or a descriptor that was closed.
    return [];
  }
}
