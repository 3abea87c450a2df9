import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  attachCommand,
  limits,
  untrusted,
  type AttachCommand,
  type AttachEvent,
} from '../../../pure/contracts/index.ts';
import { endConnection, Lines, resetStream } from '../../link/index.ts';

export const attachStdio = ['stdin', 'stdout', 'stderr', 'terminal'] as const;
export type AttachStdio = (typeof attachStdio)[number];

export interface AttachmentHandlers {
  command(command: Exclude<AttachCommand, { type: 'detach' }>): void;
  stdio(name: AttachStdio, stream: Duplex): boolean;
  /** Once. `orderly`: the client said that it detaches, or had been told of the command's end. */
  gone(orderly: boolean): void;
}

/** One connection of an operator's client, handed over by the control plane: HTTP/2, the client begins after our byte. */
export class Attachment {
  readonly id: string;
  readonly foreground: boolean;
  readonly #handlers: AttachmentHandlers;
  readonly #socket: Duplex;
  readonly #server: Http2Server;
  readonly #opened = new Set<AttachStdio>();
  readonly #streams = new Set<ServerHttp2Stream>();
  #session: ServerHttp2Session | undefined;
  #control: ServerHttp2Stream | undefined;
  #orderly = false;
  #gone = false;

  constructor(
    socket: Duplex,
    options: { readonly id: string; readonly foreground: boolean },
    handlers: AttachmentHandlers,
  ) {
    this.id = options.id;
    this.foreground = options.foreground;
    this.#handlers = handlers;
    this.#socket = socket;
    this.#server = createServer({
      maxSessionMemory: 64,
      settings: {
        enablePush: false,
        initialWindowSize: limits.attachWindow.value,
        maxConcurrentStreams: 8,
        maxHeaderListSize: 8192,
      },
    });
    this.#server.on('session', (session) => {
      this.#session = session;
      session.on('stream', (stream, headers) => this.#stream(stream, headers));
      session.once('close', () => this.close());
    });
    this.#server.on('sessionError', () => this.close());
    socket.once('close', () => this.close());
    socket.on('error', () => this.close());
    this.#server.emit('connection', socket);
    socket.write('G');
  }

  say(event: AttachEvent): void {
    if (this.#control?.writable === true) this.#control.write(lineOf(event));
  }

  /** The last word, and the end of the connection once the client has it. */
  async finish(event: AttachEvent): Promise<void> {
    this.#orderly = true;
    for (const stream of this.#streams) resetStream(stream, constants.NGHTTP2_NO_ERROR);
    const control = this.#control;
    // The client leaves its half open for as long as it likes; our end is followed by a reset without error.
    if (control?.writable === true)
      control.end(lineOf(event), () => resetStream(control, constants.NGHTTP2_NO_ERROR));
    const session = this.#session;
    if (session === undefined || session.destroyed) return this.close();
    await new Promise<void>((resolve) => {
      session.once('close', resolve);
      session.close();
    });
  }

  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    endConnection(this.#socket);
    this.#server.close();
    this.#handlers.gone(this.#orderly);
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => undefined);
    const path = headers[':method'] === 'POST' ? headers[':path'] : undefined;
    if (path === '/v1/control') return this.#openControl(stream);
    const name = attachStdio.find((known) => path === `/v1/stdio/${known}`);
    if (name === undefined || this.#control === undefined || this.#opened.has(name)) return this.close();
    this.#opened.add(name);
    this.#streams.add(stream);
    stream.respond({ ':status': 200 });
    if (!this.#handlers.stdio(name, stream)) stream.end();
  }

  #openControl(stream: ServerHttp2Stream): void {
    if (this.#control !== undefined) return this.close();
    this.#control = stream;
    const lines = new Lines(limits.attachLine.value);
    stream.respond({ ':status': 200 });
    this.say({ type: 'state', state: 'running' });
    stream.on('data', (chunk: Buffer) => {
      const complete = lines.push(chunk);
      if (complete === 'too-long') return this.close();
      for (const line of complete) this.#line(line);
    });
  }

  #line(line: string): void {
    let value: ReturnType<typeof untrusted>;
    try {
      value = untrusted(JSON.parse(line));
    } catch {
      return this.close();
    }
    const parsed = attachCommand.safeParse(value);
    if (!parsed.success) return this.close();
    if (parsed.data.type !== 'detach') return this.#handlers.command(parsed.data);
    this.#orderly = true;
    this.close();
  }
}

// Bytes, never strings: Node 20 corrupts short strings that are written to an HTTP/2 stream.
const lineOf = (event: AttachEvent): Buffer => Buffer.from(`${JSON.stringify(event)}\n`);
