/**
 * A process that holds a driver, as the control plane does: the tests run it as root and as an ordinary user, tell it
 * what to do over its channel, and kill it. Arguments: the driver's settings as JSON.
 */
import { createServer, type ServerHttp2Stream } from 'node:http2';
import {
  createGvisorDriver,
  type GvisorSettings,
  type RunningSandbox,
  type SandboxRequest,
} from '../../trusted/drivers/index.ts';
import type { SandboxId, Tier } from '../../pure/contracts/index.ts';

type Call =
  | { op: 'start'; request: SandboxRequest }
  | { op: 'run'; sandbox: string; argv: string[]; cwd?: string; id?: string }
  | { op: 'limits' | 'kill' | 'ended' | 'stop'; sandbox: string }
  | { op: 'reap'; keep: string[] }
  | { op: 'prepare'; tier: Tier }
  | { op: 'close' }
  | { op: 'openChanges'; stateFolder: string }
  | { op: 'removeChanges'; stateFolder: string };

interface InitEvent {
  type: string;
  id?: string;
  code?: number | null;
  signal?: number | null;
}

/** The trusted side of a link, reduced to running programs. */
class Link {
  readonly #waiting: { matches: (event: InitEvent) => boolean; resolve: (event: InitEvent) => void }[] = [];
  readonly #output = new Map<string, Promise<string>>();
  #control: ServerHttp2Stream | undefined;
  readonly ready: Promise<InitEvent>;

  readonly sandbox: RunningSandbox;

  constructor(sandbox: RunningSandbox) {
    this.sandbox = sandbox;
    const server = createServer();
    this.ready = this.event((event) => event.type === 'hello');
    server.on('session', (session) => session.on('error', () => undefined));
    server.on('stream', (stream, headers) => this.#accept(stream, String(headers[':path'])));
    sandbox.link.write('G');
    server.emit('connection', sandbox.link);
  }

  event(matches: (event: InitEvent) => boolean): Promise<InitEvent> {
    return new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }

  async run(id: string, argv: string[], cwd: string): Promise<object> {
    await this.ready;
    const exited = this.event(
      (event) => event.id === id && (event.type === 'exited' || event.type === 'failed'),
    );
    const env = ['PATH=/usr/local/bin:/usr/bin:/bin', 'HOME=/home/agent'];
    this.#control?.write(
      `${JSON.stringify({ type: 'start', id, argv, env, cwd, terminal: null, fd3: null })}\n`,
    );
    const outcome = await exited;
    return {
      ...outcome,
      stdout: await (this.#output.get(`${id}/stdout`) ?? ''),
      stderr: await (this.#output.get(`${id}/stderr`) ?? ''),
    };
  }

  stop(): void {
    this.#control?.write('{"type":"stop"}\n');
  }

  #accept(stream: ServerHttp2Stream, path: string): void {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200 });
    if (path === '/v1/control') {
      this.#control = stream;
      let rest = '';
      stream.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.#take(JSON.parse(line) as InitEvent);
      });
    } else if (path.endsWith('/stdin')) stream.end();
    else {
      const chunks: Buffer[] = [];
      this.#output.set(
        path.slice('/v1/stdio/'.length),
        new Promise((resolve) => {
          stream.on('data', (chunk: Buffer) => chunks.push(chunk));
          stream.on('close', () => resolve(Buffer.concat(chunks).toString()));
          stream.on('end', () => stream.end());
        }),
      );
    }
  }

  #take(event: InitEvent): void {
    const index = this.#waiting.findIndex(({ matches }) => matches(event));
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(event);
  }
}

const driver = await createGvisorDriver(JSON.parse(process.argv[2] ?? '') as GvisorSettings);
const links = new Map<string, Link>();
let runs = 0;

async function answer(call: Call): Promise<unknown> {
  if (call.op === 'start') {
    const sandbox = await driver.start(call.request);
    links.set(call.request.sandboxId, new Link(sandbox));
    return { pid: sandbox.pid, hidden: sandbox.hidden };
  }
  if (call.op === 'reap') return driver.reap(new Set(call.keep as SandboxId[]));
  if (call.op === 'close') return driver.close();
  if (call.op === 'prepare') return driver.prepare(call.tier);
  if (call.op === 'openChanges') return (await driver.openChanges(call.stateFolder))?.upper;
  if (call.op === 'removeChanges') return driver.removeChanges(call.stateFolder);
  const link = links.get(call.sandbox);
  if (link === undefined) throw new Error('no such sandbox');
  switch (call.op) {
    case 'run':
      return Promise.race([
        link.run(call.id ?? `run-${(runs += 1)}`, call.argv, call.cwd ?? '/'),
        link.sandbox.ended.then((end) => ({ type: 'ended', ...end })),
      ]);
    case 'limits':
      return link.sandbox.limits();
    case 'kill':
      await link.sandbox.kill();
      return link.sandbox.ended;
    case 'stop':
      link.stop();
      return link.sandbox.ended;
    case 'ended':
      return link.sandbox.ended;
  }
}

process.on('message', (message: { number: number; call: Call }) => {
  answer(message.call).then(
    (value) => process.send?.({ number: message.number, value }),
    (error: unknown) =>
      process.send?.({
        number: message.number,
        error:
          error instanceof Error
            ? `${error.message} ${'why' in error ? String(error.why) : ''}`
            : String(error),
      }),
  );
});
process.send?.({ number: 0 });
