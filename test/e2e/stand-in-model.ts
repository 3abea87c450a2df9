import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';
import { dialects, type Dialect, type Step } from './model-dialects.ts';

export type { Step } from './model-dialects.ts';

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Script = (results: readonly string[]) => Step;

/**
 * A stand-in for a model's API on the wire: TLS with an authority of its own, scripted answers in whichever dialect it is asked in,
 * streamed or whole. It is reached through the gateway by the same rules as the real one.
 */
export class StandInModel {
  readonly seen: Seen[] = [];
  readonly caPem: string;
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, caPem: string) {
    this.#server = server;
    this.caPem = caPem;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(host: string, script: Script): Promise<StandInModel> {
    const authority = await SessionAuthority.create('stand-in', Date.now(), 86_400_000);
    const { keyPem, chainPem } = await authority.issue(host, Date.now());
    const server = createServer({ key: keyPem, cert: chainPem });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const model = new StandInModel(server, authority.certificatePem);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        model.seen.push({ method, path: url, headers, body });
        // A client that would rather have a WebSocket goes on without.
        if (headers.upgrade !== undefined) response.writeHead(426).end();
        else answer(method, url, body, response, script);
      });
    });
    return model;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function answer(method: string, path: string, body: string, response: ServerResponse, script: Script): void {
  const dialect = method === 'POST' ? dialects.find((one) => one.path.test(path)) : undefined;
  if (dialect !== undefined) speak(dialect, path, JSON.parse(body), response, script);
  else if (method === 'POST' && path.includes('count_tokens')) json(response, { input_tokens: 10 });
  else if (method === 'POST' && path.includes(':countTokens')) json(response, { totalTokens: 10 });
  else response.writeHead(method === 'HEAD' ? 200 : 404).end();
}

function speak(
  dialect: Dialect,
  path: string,
  body: unknown,
  response: ServerResponse,
  script: Script,
): void {
  const { results, errand, streamed } = dialect.read(path, body);
  const { events, whole } = dialect.answer(errand ? { text: 'ok' } : script(results), results.length);
  if (!streamed) return json(response, whole);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const { event, data } of events)
    response.write(`${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`);
  response.end(dialect.end === undefined ? undefined : `data: ${dialect.end}\n\n`);
}

const json = (response: ServerResponse, value: unknown): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
};
