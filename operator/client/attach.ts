import type { ClientHttp2Session, ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { GloveboxError, limits, type AttachCommand, type AttachEvent } from '../../pure/contracts/index.ts';
import { readText, startRequest, unreachable } from './http-exchange.ts';
import { readNdjson } from './ndjson.ts';
import { refusal } from './operator-error.ts';
import { routePath } from './operator-client.ts';

export type StdioName = 'stdin' | 'stdout' | 'stderr' | 'terminal';

export interface Attachment {
  /** The sidecar's reports; ends when the connection does. */
  readonly events: AsyncIterable<AttachEvent>;
  send(command: AttachCommand): void;
  /** stdin is written to, stdout and stderr are read from, the terminal is both. Each may be opened once. */
  stdio(name: StdioName): ClientHttp2Stream;
  close(): void;
}

export interface AttachTarget {
  readonly socketPath: string;
  readonly sessionId: string;
  /** A foreground attachment gates the session's output. */
  readonly foreground: boolean;
  /** A further command, as `execSession` named it. */
  readonly process?: string;
}

/** Joins a session's input and output: the operator connection, upgraded, then HTTP/2 with the session's own sidecar. */
export async function attach(target: AttachTarget): Promise<Attachment> {
  // Loaded while the control plane hands the connection over.
  const http2 = import('node:http2');
  const socket = await upgrade(target);
  await readGo(socket);
  return overHttp2((await http2).connect, socket);
}

function upgrade(target: AttachTarget): Promise<Socket> {
  const path = routePath('attachSession', {
    params: { id: target.sessionId },
    query: { foreground: String(target.foreground), process: target.process },
  });
  return new Promise((resolve, reject) => {
    const req = startRequest({
      socketPath: target.socketPath,
      method: 'GET',
      path,
      headers: { connection: 'upgrade', upgrade: 'glovebox-attach' },
    });
    req.on('error', (error) => reject(unreachable(error, target.socketPath)));
    req.on('response', (res) => {
      readText(res).then((text) => reject(refusal(res.statusCode ?? 0, text)), reject);
    });
    req.on('upgrade', (_res, stream, head) => {
      const socket = stream;
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
  });
}

/**
 * Waits for the sidecar's one byte. Whatever was sent before it would be read by the process that hands the connection over, and
 * lost to the sidecar; what follows it is left for HTTP/2.
 */
function readGo(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      socket.off('readable', take).off('close', closed).off('error', closed);
    };
    const take = (): void => {
      const byte = socket.read(1) as Buffer | null;
      if (byte === null) return;
      stop();
      if (byte[0] === 0x47) return resolve();
      socket.destroy();
      reject(lost('it did not begin as a sidecar does'));
    };
    const closed = (): void => {
      stop();
      socket.destroy();
      reject(lost('the connection ended before it was handed over'));
    };
    socket.on('readable', take).on('close', closed).on('error', closed).on('end', closed);
    take();
  });
}

const lost = (detail: string): GloveboxError =>
  new GloveboxError('GB_UPSTREAM_FAILED', { what: 'The session’s sidecar', detail });

function overHttp2(connect: typeof connectHttp2, socket: Socket): Attachment {
  const window = limits.attachWindow.value;
  const session: ClientHttp2Session = connect('http://attach', {
    createConnection: () => socket,
    settings: { initialWindowSize: window, enablePush: false },
  });
  session.once('connect', () => session.setLocalWindowSize(window * 2));
  const open = (path: string, endStream: boolean): ClientHttp2Stream => {
    const stream = session.request({ ':method': 'POST', ':path': path }, { endStream });
    // The end of the connection is reported once, by the end of `events`.
    stream.on('error', () => stream.destroy());
    return stream;
  };
  session.on('error', () => session.destroy());
  const control = open('/v1/control', false);
  return {
    events: reports(control),
    send(command) {
      if (!control.destroyed && control.writable) control.write(`${JSON.stringify(command)}\n`);
    },
    stdio: (name) => open(`/v1/stdio/${name}`, name === 'stdout' || name === 'stderr'),
    close() {
      session.destroy();
    },
  };
}

async function* reports(control: ClientHttp2Stream): AsyncGenerator<AttachEvent> {
  try {
    yield* readNdjson<AttachEvent>(control);
  } catch (error) {
    // A connection that breaks ends the reports; whoever reads them asks the control plane what became of the session.
    if (!(error instanceof Error) || error instanceof GloveboxError) throw error;
  }
}
