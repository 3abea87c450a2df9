import type { IncomingHttpHeaders } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext } from 'node:tls';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';

/** An outside host of several names, which remembers what came. */
export class Upstream {
  readonly seen: { readonly host: string; readonly path: string; readonly headers: IncomingHttpHeaders }[] =
    [];
  readonly caPem: string;
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, caPem: string) {
    this.#server = server;
    this.caPem = caPem;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (request, response) => {
      this.seen.push({
        host: request.headers.host ?? '',
        path: request.url ?? '',
        headers: request.headers,
      });
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"said":"hello"}');
    });
  }

  static async start(names: readonly [string, ...string[]]): Promise<Upstream> {
    const authority = await SessionAuthority.create('upstream', Date.now(), 86_400_000);
    const contexts = new Map<string, ReturnType<typeof createSecureContext>>();
    for (const name of names) {
      const { keyPem, chainPem } = await authority.issue(name, Date.now());
      contexts.set(name, createSecureContext({ key: keyPem, cert: chainPem }));
    }
    const server = createServer({
      SNICallback: (name, done) => done(null, contexts.get(name)),
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Upstream(server, authority.certificatePem);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
