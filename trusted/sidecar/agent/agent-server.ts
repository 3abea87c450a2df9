import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import {
  agentRoutes,
  asGloveboxError,
  GloveboxError,
  limits,
  parseUntrusted,
  untrusted,
  type LinkCaller,
  type Route,
  type Untrusted,
} from '../../../pure/contracts/index.ts';
import { foreignSession, refuseMalformed } from '../../workload-http/index.ts';
import type { Named } from '../../../pure/consent/index.ts';
import { mcpSessionHeader, type NamedTurns } from './named.ts';
import type { AgentApi } from './agent-api.ts';

/** The MCP endpoint, made when it is first asked for. */
export type McpEndpoint = (request: IncomingMessage, response: ServerResponse, named: Named) => Promise<void>;

export interface AgentServerOptions {
  readonly caller: LinkCaller;
  readonly api: AgentApi;
  readonly named: NamedTurns;
  readonly mcp: () => Promise<McpEndpoint>;
  readonly onError: (error: unknown) => void;
}

type RouteName = keyof typeof agentRoutes;
interface Found {
  readonly name: RouteName;
  readonly params: Record<string, string>;
}

// A page in a browser of the sandbox could be made to resolve its own name to this address (DNS rebinding).
const hosts = new Set(['127.0.0.1:9090', 'localhost:9090']);
const origins = new Set([...hosts].map((host) => `http://${host}`));

/** The HTTP side of the agent API. It listens nowhere: the link hands it connections. */
export class AgentServer {
  readonly #options: AgentServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Duplex>();
  #mcp: Promise<McpEndpoint> | undefined;

  constructor(options: AgentServerOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        maxHeaderSize: 16_384,
        requireHostHeader: true,
        // For the request to arrive; what a person is asked takes as long as it takes.
        headersTimeout: limits.agentRequestTime.value,
        requestTimeout: limits.agentRequestTime.value,
        connectionsCheckingInterval: limits.agentRequestTime.value / 4,
      },
      (request, response) => {
        void this.#answer(request, response);
      },
    );
    // Node starts its watch over slow requests when a server listens, which this one never does [R45].
    this.#server.emit('listening');
    this.#server.maxHeadersCount = 64;
    refuseMalformed(this.#server);
  }

  handle(connection: Duplex): void {
    connection.on('error', () => undefined);
    if (this.#connections.size >= limits.agentConnections.value) return void connection.destroy();
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    this.#server.emit('connection', connection);
  }

  close(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      checkPlace(request);
      const pathname = pathOf(request.url ?? '/');
      if (pathname === '/mcp') {
        const { named } = this.#options;
        const by = named.of(request.headers);
        const begun = request.headers[mcpSessionHeader] === undefined ? named.begin() : undefined;
        if (begun !== undefined) response.setHeader(mcpSessionHeader, begun);
        this.#mcp ??= this.#options.mcp();
        return await (
          await this.#mcp
        )(request, response, by);
      }
      const found = findRoute(request.method ?? '', pathname);
      const route = agentRoutes[found.name];
      const params =
        'params' in route ? parseUntrusted(route.params, untrusted(found.params), 'The path') : {};
      const body = 'body' in route ? await readJson(request) : untrusted(undefined);
      refuseForeign(this.#options.caller, route, request, body);
      const result = await this.#options.api.handlers[found.name](this.#options.caller, {
        params,
        body,
        named: this.#options.named.of(request.headers),
      });
      send(response, 200, result);
    } catch (error) {
      // Whoever asked went away in the middle of it: an agent may, at any time.
      if (request.destroyed && !request.complete) response.destroy();
      else this.#refuse(response, error);
    }
  }

  #refuse(response: ServerResponse, error: unknown): void {
    const known = asGloveboxError(error);
    if (known.code === 'GB_INTERNAL') this.#options.onError(error);
    // Nothing else is taken from a connection that leads here under another name.
    if (known.code === 'GB_CALLER_REFUSED' && !response.headersSent)
      response.setHeader('connection', 'close');
    if (response.headersSent) response.destroy();
    else send(response, known.status, known.toBody());
  }
}

/** Origin form only: an absolute target would name a host of its own. */
function pathOf(target: string): string {
  if (target.startsWith('/') && !target.startsWith('//')) return target.split('?', 1)[0] ?? '/';
  throw new GloveboxError('GB_INPUT_INVALID', { what: 'The request', detail: 'its target is not a path' });
}

function checkPlace(request: IncomingMessage): void {
  const host = request.headers.host ?? '';
  const origin = request.headers.origin;
  // Node takes the first of several and says nothing of the others.
  const one = request.headersDistinct['host']?.length === 1;
  if (one && hosts.has(host) && (origin === undefined || origins.has(origin))) return;
  throw new GloveboxError('GB_CALLER_REFUSED', {
    operation: 'a request for another host or from a web page',
    allowed: [...hosts].join(', '),
  });
}

function findRoute(method: string, pathname: string): Found {
  const given = pathname.split('/');
  for (const name of Object.keys(agentRoutes) as RouteName[]) {
    const route = agentRoutes[name];
    const wanted = route.path.split('/');
    if (route.method !== method || wanted.length !== given.length) continue;
    const params: Record<string, string> = {};
    const fits = wanted.every((part, index) => {
      const there = given[index] ?? '';
      if (!part.startsWith(':')) return part === there;
      params[part.slice(1)] = there;
      return there !== '';
    });
    if (fits) return { name, params };
  }
  throw new GloveboxError('GB_NOT_FOUND', {
    what: 'such operation',
    detail: 'the agent API has no such path',
  });
}

/** Who asks is the link; a session that the request names all the same has to be its own (R2). */
function refuseForeign(caller: LinkCaller, route: Route, request: IncomingMessage, body: Untrusted): void {
  const { searchParams } = new URL(request.url ?? '/', 'http://link');
  const query = [...searchParams].map(([key, value]) => ({ [key]: value }));
  // A tool's arguments are the tool's, whatever their names are.
  const named = route.body instanceof z.ZodRecord ? undefined : body;
  const foreign = foreignSession({ query, body: named, headers: request.headers }, caller.sessionId);
  if (foreign === undefined) return;
  throw new GloveboxError('GB_CALLER_MISMATCH', {
    named: foreign,
    caller: `the sandbox of session ${caller.sessionId}`,
  });
}

async function readJson(request: IncomingMessage): Promise<Untrusted> {
  if (!(request.headers['content-type'] ?? '').toLowerCase().startsWith('application/json')) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The request',
      detail: 'its content type is not application/json',
    });
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limits.operationBody.value) {
      throw new GloveboxError('GB_BODY_TOO_LARGE', {
        detail: `more than ${limits.operationBody.value} bytes`,
      });
    }
    chunks.push(chunk);
  }
  try {
    return untrusted(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  } catch {
    throw new GloveboxError('GB_INPUT_INVALID', { what: 'The request', detail: 'its body is not JSON' });
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    'cache-control': 'no-store',
    // What was not read of a refused body must not be taken for the next request.
    ...(status === 413 ? { connection: 'close' } : {}),
  });
  response.end(body);
}
