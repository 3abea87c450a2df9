import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { limits, untrusted } from '../../pure/contracts/index.ts';
import { everySecond, Heartbeat, type Ticker } from './heartbeat.ts';
import { Lines } from './lines.ts';
import {
  linkEvent,
  parseLinkPath,
  type LinkCommand,
  type LinkEvent,
  type LinkPath,
  type RenewalEvent,
  type StdioName,
} from './messages.ts';
import { endConnection } from './reset.ts';
import { Tunnel } from './tunnel.ts';

export interface LinkEnd {
  readonly reason: 'closed' | 'heartbeat-missed' | 'link-violation';
  /** For the log: what was wrong, never bytes of the other side's. */
  readonly detail: string;
}

export interface LinkHandlers {
  event(event: Exclude<LinkEvent, { type: 'heartbeat' } | RenewalEvent>): void;
  /** One accepted connection inside the sandbox. False: there is no such tunnel. */
  tunnel(name: string, connection: Duplex): boolean;
  /** What a started process reads (`stdin`: written to), writes (`stdout`, `stderr`: read from) or both (`terminal`). */
  stdio(id: string, name: StdioName, stream: Duplex): boolean;
  /** Once, last. */
  ended(end: LinkEnd): void;
}

/** What keeps a link's certificate renewed, where it has one. */
export interface LinkRenewal {
  begin(send: (command: LinkCommand) => void): void;
  /** False: nobody asked for that. */
  heard(event: RenewalEvent): boolean;
}

/**
 * The trusted end of the link: HTTP/2 on the inherited connection, init is the client. Who has the other end is the
 * sandbox, by inheritance; nothing that is said on the link names anyone (R2). Whatever is not the protocol ends it.
 */
export class LinkServer {
  readonly #handlers: LinkHandlers;
  readonly #socket: Duplex;
  readonly #server: Http2Server;
  readonly #heartbeat: Heartbeat;
  readonly #stdio = new Set<string>();
  readonly #renewal: LinkRenewal | undefined;
  #session: ServerHttp2Session | undefined;
  #control: ServerHttp2Stream | undefined;
  #waiting: LinkCommand[] = [];
  #ended = false;

  constructor(
    socket: Duplex,
    handlers: LinkHandlers,
    options: { readonly ticker?: Ticker; readonly renewal?: LinkRenewal | undefined } = {},
  ) {
    this.#handlers = handlers;
    this.#socket = socket;
    this.#renewal = options.renewal;
    this.#server = createServer({
      maxSessionMemory: 64,
      maxHeaderListPairs: 32,
      maxSendHeaderBlockLength: 16_384,
      settings: {
        enablePush: false,
        enableConnectProtocol: false,
        initialWindowSize: limits.linkWindow.value,
        // Each frame of output costs calls in gVisor's kernel: fewer, larger ones.
        maxFrameSize: limits.linkFrame.value,
        maxConcurrentStreams: limits.linkStreams.value,
        maxHeaderListSize: 8192,
      },
    });
    this.#server.on('session', (session) => this.#opened(session));
    this.#server.on('sessionError', (error) => this.#violation(`HTTP/2: ${codeOf(error)}`));
    this.#heartbeat = new Heartbeat(options.ticker ?? everySecond, limits.linkStart.value / 1000, () =>
      this.#end({ reason: 'heartbeat-missed', detail: 'init was silent for too long' }),
    );
    socket.once('close', () => this.#end({ reason: 'closed', detail: 'the connection is closed' }));
    socket.on('error', (error) => this.#end({ reason: 'closed', detail: codeOf(error) }));
    // Not before: whoever held this end until now would have swallowed the first bytes of the other's.
    if (socket instanceof TLSSocket) {
      // Node 20 aborts where HTTP/2 and JavaScript write to one TLS connection at the same time.
      socket.write(Buffer.from('G'), () => void this.#server.emit('connection', socket));
    } else {
      this.#server.emit('connection', socket);
      socket.write('G');
    }
  }

  /** Commands given before init has opened its control stream wait for it. */
  send(command: LinkCommand): void {
    if (this.#ended) return;
    if (this.#control === undefined) {
      this.#waiting.push(command);
      return;
    }
    this.#control.write(Buffer.from(`${JSON.stringify(command)}\n`));
    if (this.#control.writableLength > limits.linkWaiting.value) this.#violation('init takes no commands');
  }

  close(detail = 'closed by the trusted side'): void {
    this.#end({ reason: 'closed', detail });
  }

  #opened(session: ServerHttp2Session): void {
    if (this.#session !== undefined) return this.#violation('a second session');
    this.#session = session;
    session.on('stream', (stream, headers) => this.#stream(stream, headers));
    session.once('close', () => this.#end({ reason: 'closed', detail: 'the session is closed' }));
    session.on('goaway', () => this.#end({ reason: 'closed', detail: 'the other side goes away' }));
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // A stream that was reset is not the link's end; whoever reads or writes it sees it closed.
    stream.on('error', () => undefined);
    if (this.#ended) return;
    const path =
      headers[':method'] === 'POST' && headers[':authority'] === 'link'
        ? parseLinkPath(headers[':path'] ?? '')
        : undefined;
    if (path === undefined) return this.#violation('a request that is not of the link');
    if (path.kind !== 'control' && this.#control === undefined)
      return this.#violation('a stream before the control stream');
    this.#accept(path, stream);
  }

  #accept(path: LinkPath, stream: ServerHttp2Stream): void {
    switch (path.kind) {
      case 'control':
        if (this.#control !== undefined) return this.#violation('a second control stream');
        return this.#openControl(stream);
      case 'stdio': {
        const key = `${path.id}/${path.name}`;
        if (this.#stdio.has(key)) return this.#violation('a stdio stream was opened twice');
        this.#stdio.add(key);
        stream.respond({ ':status': 200 });
        if (!this.#handlers.stdio(path.id, path.name, stream))
          this.#violation('a stdio stream that nobody asked for');
        return;
      }
      case 'tunnel':
        stream.respond({ ':status': 200 });
        if (!this.#handlers.tunnel(path.name, new Tunnel(stream)))
          this.#violation('a tunnel that was not configured');
        return;
    }
  }

  #openControl(stream: ServerHttp2Stream): void {
    this.#control = stream;
    const lines = new Lines(limits.linkLine.value);
    stream.on('data', (chunk: Buffer) => {
      const complete = lines.push(chunk);
      if (complete === 'too-long') return this.#violation('a line of init is too long');
      for (const line of complete) this.#line(line);
    });
    stream.once('close', () => this.#end({ reason: 'closed', detail: 'the control stream is closed' }));
    stream.once('end', () => this.#end({ reason: 'closed', detail: 'the control stream has ended' }));
    stream.respond({ ':status': 200 });
    for (const command of this.#waiting.splice(0)) this.send(command);
    this.#renewal?.begin((command) => this.send(command));
  }

  #line(line: string): void {
    if (this.#ended) return;
    const parsed = linkEvent.safeParse(parseJson(line));
    if (!parsed.success) return this.#violation('an event of init is not valid');
    this.#heartbeat.heard(limits.heartbeatMissed.value / 1000);
    const { data: event } = parsed;
    if (event.type === 'renewal' || event.type === 'proof') {
      // An inherited link has no certificate, and nobody renews what was not asked for.
      if (this.#renewal?.heard(event) !== true) this.#violation('a renewal that nobody asked for');
    } else if (event.type !== 'heartbeat') this.#handlers.event(event);
  }

  #violation(detail: string): void {
    this.#end({ reason: 'link-violation', detail });
  }

  #end(end: LinkEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#heartbeat.stop();
    endConnection(this.#socket);
    this.#server.close();
    this.#handlers.ended(end);
  }
}

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : error.name;

function parseJson(line: string): ReturnType<typeof untrusted> | undefined {
  try {
    return untrusted(JSON.parse(line));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
