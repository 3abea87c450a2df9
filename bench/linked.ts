import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LinkServer } from '../trusted/link/index.ts';
import { createInterface, type Interface } from 'node:readline';
import type { Bare } from './bare.ts';

/** A bare sandbox with init and its link, whose one tunnel leads where the caller says; nothing of Glovebox is in between. */
export class Linked {
  readonly #link: LinkServer;
  readonly #stdin: Promise<Duplex>;
  readonly #lines: Promise<Interface>;
  readonly #stop: () => void;

  constructor(bare: Bare, argv: readonly string[], port: number, tunnel: (connection: Duplex) => void) {
    const child = bare.run(['/opt/glovebox/init'], ['ignore', 'inherit', 'inherit', 'pipe'], [3]);
    const socket = child.stdio[3];
    if (!(socket instanceof Socket)) throw new Error('no link');
    let stdin: (stream: Duplex) => void = () => undefined;
    let stdout: (stream: Interface) => void = () => undefined;
    this.#stdin = new Promise((resolve) => (stdin = resolve));
    this.#lines = new Promise((resolve) => (stdout = resolve));
    this.#link = new LinkServer(socket, {
      event: () => undefined,
      tunnel: (_name, connection) => {
        tunnel(connection);
        return true;
      },
      stdio: (_id, name, stream) => {
        if (name === 'stdin') stdin(stream);
        else if (name === 'stdout') stdout(createInterface({ input: stream }));
        else stream.on('data', (chunk: Buffer) => process.stderr.write(chunk));
        return true;
      },
      ended: () => undefined,
    });
    this.#link.send({ type: 'configure', listen: [{ address: `127.0.0.1:${port}`, tunnel: 'bench' }] });
    this.#link.send({
      type: 'start',
      id: 'main',
      argv,
      env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'HOME=/home/agent'],
      cwd: '/workspace',
      terminal: null,
      fd3: null,
    });
    this.#stop = () => child.kill('SIGKILL');
  }

  async line(): Promise<string> {
    const [text] = (await once(await this.#lines, 'line')) as [string];
    return text;
  }

  async ask(question: string): Promise<string> {
    const answer = this.line();
    (await this.#stdin).write(Buffer.from(`${question}\n`));
    return answer;
  }

  close(): void {
    this.#link.close();
    this.#stop();
  }
}
