import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { browserRoutes, GloveboxError, limits, type UserId } from '../../../pure/contracts/index.ts';
import { catalogued, type RequestRate } from '../../workload-http/index.ts';
import { proofOf, requireOwnPlace } from './browser-guard.ts';
import { BrowserLogins } from './browser-logins.ts';
import { loginPage, loginScript, safeHeaders } from './login-page.ts';

/** Makes the operator API on a server of the door's own. */
export type ServeOperatorApi = (
  server: (handler: (request: IncomingMessage, response: ServerResponse) => void) => Server,
) => Promise<FastifyInstance>;

export interface BrowserDoorOptions {
  readonly user: UserId;
  readonly serve: ServeOperatorApi;
  readonly refusals: RequestRate;
  readonly record: (decision: 'allow' | 'deny', rule: string, detail: string) => void;
  readonly now: () => number;
  /** Within which a request has to arrive. */
  readonly requestTime: number;
}

interface Open {
  readonly app: FastifyInstance;
  readonly host: string;
}

const pages: Readonly<Record<string, readonly [string, string]>> = {
  '/': ['text/html; charset=utf-8', loginPage],
  '/login.js': ['text/javascript; charset=utf-8', loginScript],
};

/**
 * The operator API for a browser of this machine. Closed until a person asks for it at the socket. Every user of the machine can
 * connect to a port of the loopback: so nothing is told to anybody who is not logged in, and a request is judged before any of it
 * is read.
 */
export class BrowserDoor {
  readonly #options: BrowserDoorOptions;
  readonly #logins: BrowserLogins;
  /** Browsers send a cookie to every port of its host: the name is this door's alone, and the cookie alone opens nothing. */
  readonly #cookieName = `glovebox-${randomBytes(6).toString('hex')}`;
  #open: Promise<Open> | undefined;

  constructor(options: BrowserDoorOptions) {
    this.#options = options;
    this.#logins = new BrowserLogins(options.now);
  }

  /** An address that logs a browser in, once. */
  async open(): Promise<{ url: string; expiresAt: string }> {
    this.#open ??= this.#listen().catch((error: unknown) => {
      this.#open = undefined;
      throw error;
    });
    const { host } = await this.#open;
    const { token, expiresAt } = this.#logins.issue();
    return { url: `http://${host}/#${token}`, expiresAt: new Date(expiresAt).toISOString() };
  }

  async close(): Promise<boolean> {
    const open = this.#open;
    this.#open = undefined;
    this.#logins.endAll();
    await (await open)?.app.close();
    return open !== undefined;
  }

  async #listen(): Promise<Open> {
    let host = '';
    const app = await this.#options.serve((handler) =>
      this.#server((request, response) => {
        if (this.#admit(request, response, host)) handler(request, response);
      }),
    );
    this.#serveLogins(app);
    await app.listen({ host: '127.0.0.1', port: 0 });
    host = `127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    return { app, host };
  }

  #server(handler: (request: IncomingMessage, response: ServerResponse) => void): Server {
    const time = this.#options.requestTime;
    const server = createServer(
      {
        maxHeaderSize: 16_384,
        headersTimeout: time,
        requestTimeout: time,
        keepAliveTimeout: time,
        connectionsCheckingInterval: time / 4,
      },
      handler,
    );
    server.maxConnections = limits.browserConnections.value;
    return server;
  }

  /** True for a request that the API may see; every other one is answered here. */
  #admit(request: IncomingMessage, response: ServerResponse, host: string): boolean {
    for (const [name, value] of Object.entries(safeHeaders)) response.setHeader(name, value);
    try {
      requireOwnPlace(request, host);
      const page = request.method === 'GET' ? pages[request.url ?? ''] : undefined;
      if (page !== undefined) {
        response.setHeader('content-type', page[0]);
        response.end(page[1]);
        return false;
      }
      if (request.url === browserRoutes.login.path && request.method === browserRoutes.login.method)
        return true;
      this.#requireLogin(request, response);
      return true;
    } catch (error) {
      this.#refuse(request, response, catalogued(error));
      return false;
    }
  }

  #requireLogin(request: IncomingMessage, response: ServerResponse): void {
    const proof = proofOf(request, this.#cookieName);
    const login = proof === undefined ? undefined : this.#logins.find(proof);
    if (login === undefined)
      throw new GloveboxError('GB_BROWSER_LOGIN', { detail: 'The request shows no login that is good now.' });
    const end = (): void => void request.destroy();
    const timer = setTimeout(end, login.expiresAt - this.#options.now()).unref();
    login.onEnd.add(end);
    response.once('close', () => {
      clearTimeout(timer);
      login.onEnd.delete(end);
    });
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: GloveboxError): void {
    try {
      this.#options.refusals.count('refused');
    } catch {
      // More than a person’s mistakes: whoever sends these gets no more work out of us, and no more records.
      request.destroy();
      return;
    }
    this.#options.record('deny', error.code, error.what);
    response.writeHead(error.status, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(error.toBody()), () => request.socket.destroySoon());
  }

  #serveLogins(app: FastifyInstance): void {
    const attributes = 'Path=/; HttpOnly; SameSite=Strict';
    app.post(browserRoutes.login.path, { bodyLimit: 1024 }, async (request, reply) => {
      const body = browserRoutes.login.body.safeParse(request.body);
      try {
        if (!body.success)
          throw new GloveboxError('GB_INPUT_INVALID', { what: 'The login', detail: 'it holds no token' });
        const { cookie, key, expiresAt } = this.#logins.redeem(body.data.token);
        this.#options.record('allow', 'operator', 'a browser logged in');
        void reply.header(
          'set-cookie',
          `${this.#cookieName}=${cookie}; Max-Age=${limits.browserLogin.value / 1000}; ${attributes}`,
        );
        return { user: this.#options.user, key, expiresAt: new Date(expiresAt).toISOString() };
      } catch (error) {
        this.#refuse(request.raw, reply.hijack().raw, catalogued(error));
        return reply;
      }
    });
    app.post(browserRoutes.logout.path, async (request, reply) => {
      const proof = proofOf(request.raw, this.#cookieName);
      void reply.header('set-cookie', `${this.#cookieName}=; Max-Age=0; ${attributes}`);
      void reply.header('connection', 'close');
      reply.raw.once('finish', () => proof !== undefined && this.#logins.end(proof));
      return { ended: true };
    });
  }
}
