import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { AttachCommand, ConsentQuestion, SessionView } from '../../pure/contracts/index.ts';
import { routeTable, type RouteName } from './route-table.ts';

/** A control plane of a few lines for tests of the client and the command line: what it answers is what the test says. */
export interface FakeRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}
export type FakeHandler = (request: FakeRequest, res: ServerResponse) => unknown;

export interface FakeAttachment {
  readonly commands: AttachCommand[];
  say(event: unknown): void;
  /** The stream of this name, once the client has opened it. */
  stream(name: string): Promise<ServerHttp2Stream>;
  command(type: AttachCommand['type']): Promise<AttachCommand>;
}

export interface FakeControlPlane {
  readonly root: string;
  readonly socketPath: string;
  readonly env: Record<string, string>;
  readonly calls: { readonly name: string; readonly request: FakeRequest }[];
  on(name: RouteName, handler: FakeHandler): void;
  onAttach(handler: (attachment: FakeAttachment) => void): void;
  /** Attaching ends before anybody takes it. */
  refuseAttach(): void;
  close(): Promise<void>;
}

export const fakeSession = (changes: Partial<SessionView> = {}): SessionView => ({
  id: 'a'.repeat(26),
  name: 'calm-fox',
  state: 'running',
  reason: null,
  exitCode: null,
  exitSignal: null,
  command: ['sh'],
  workspace: '/work/project',
  workspaceMode: 'staged',
  changes: 'none',
  tier: 'standard',
  user: 'local/0',
  preset: null,
  createdAt: '2026-11-01T00:00:00.000Z',
  startedAt: '2026-11-01T00:00:00.000Z',
  endedAt: null,
  expiresAt: '2026-11-01T08:00:00.000Z',
  weakened: [],
  terminal: false,
  attached: 0,
  detail: null,
  limits: [],
  ...changes,
});

export const endedSession = (changes: Partial<SessionView> = {}): SessionView =>
  fakeSession({
    state: 'ended',
    reason: 'exited',
    exitCode: 0,
    endedAt: '2026-11-01T00:01:00.000Z',
    ...changes,
  });

export const fakeQuestion = (changes: Partial<ConsentQuestion> = {}): ConsentQuestion => ({
  id: 'q'.repeat(26),
  sessionId: 'a'.repeat(26),
  sessionName: 'calm-fox',
  user: 'local/0',
  turnId: 't'.repeat(26),
  scope: 'files:read:/shared/notes.txt',
  operation: 'files.read',
  host: null,
  argumentsText: '{"path":"/shared/notes.txt"}',
  argsHash: '00',
  reason: 'to answer your question',
  createdAt: '2026-11-01T00:00:00.000Z',
  expiresAt: '2026-11-01T00:05:00.000Z',
  digest: '',
  state: 'pending',
  count: 1,
  ...changes,
});

export async function fakeControlPlane(): Promise<FakeControlPlane> {
  const root = mkdtempSync(join(tmpdir(), 'gb-fake-'));
  const runtime = join(root, 'state/glovebox/run');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const socketPath = join(runtime, 'operator.sock');
  const handlers = new Map<string, FakeHandler>();
  const calls: FakeControlPlane['calls'] = [];
  let attachHandler: (attachment: FakeAttachment) => void = () => undefined;

  const server = createHttp((req, res) => void serve(req, res));
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const url = new URL(req.url ?? '/', 'http://fake');
    const route = match(req.method ?? '', url.pathname);
    const request = { params: route?.params ?? {}, query: url.searchParams, body: await bodyOf(req) };
    const handler = route === undefined ? undefined : handlers.get(route.name);
    calls.push({ name: route?.name ?? url.pathname, request });
    const answer = handler === undefined ? refuse(res, url.pathname) : await handler(request, res);
    if (!res.headersSent && answer !== undefined)
      res.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  };
  const sidecars: Http2Server[] = [];
  const sockets = new Set<Duplex>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  let refusing = false;
  server.on('upgrade', (_req, socket: Duplex) => {
    if (refusing)
      return void socket.end(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: glovebox-attach\r\n\r\n',
      );
    const sidecar = createHttp2();
    sidecars.push(sidecar);
    attachHandler(attachmentOf(sidecar));
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: glovebox-attach\r\n\r\nG',
    );
    sidecar.emit('connection', socket);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    root,
    socketPath,
    env: {
      HOME: root,
      XDG_STATE_HOME: join(root, 'state'),
      PATH: process.env['PATH'] ?? '',
      TERM: 'xterm-256color',
    },
    calls,
    on: (name, handler) => void handlers.set(name, handler),
    onAttach: (handler) => void (attachHandler = handler),
    refuseAttach: () => void (refusing = true),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function match(method: string, path: string): { name: string; params: Record<string, string> } | undefined {
  for (const [name, route] of Object.entries(routeTable)) {
    const pattern = new RegExp(`^${route.path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
    const found = route.method === method ? pattern.exec(path) : null;
    if (found !== null) return { name, params: { ...found.groups } };
  }
  return undefined;
}

async function bodyOf(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function refuse(res: ServerResponse, path: string): undefined {
  const error = { code: 'GB_NOT_FOUND', what: 'There is no such thing.', why: path, todo: 'Look elsewhere.' };
  res.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
  return undefined;
}

function attachmentOf(sidecar: Http2Server): FakeAttachment {
  const streams = new Map<string, ServerHttp2Stream>();
  const commands: AttachCommand[] = [];
  const waiting = new Set<() => void>();
  const changed = (): void => waiting.forEach((check) => check());
  const until = <T>(find: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const check = (): void => {
        const found = find();
        if (found === undefined) return;
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
    });
  sidecar.on('stream', (stream, headers) => {
    const name = (headers[':path'] ?? '').split('/').at(-1) ?? '';
    stream.on('error', () => stream.destroy());
    stream.respond({ ':status': 200 });
    streams.set(name, stream);
    changed();
    if (name !== 'control') return;
    let rest = '';
    stream.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) commands.push(JSON.parse(line) as AttachCommand);
      changed();
    });
  });
  return {
    commands,
    say: (event) => void streams.get('control')?.write(`${JSON.stringify(event)}\n`),
    stream: (name) => until(() => streams.get(name)),
    command: (type) => until(() => commands.find((command) => command.type === type)),
  };
}
