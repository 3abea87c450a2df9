import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http';
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { asGloveboxError, GloveboxError, limits } from '../../pure/contracts/index.ts';
import { decideConnect, normaliseHost } from '../../pure/egress/index.ts';
import { Exchange, refuse, type Destination } from './exchange.ts';
import type { EgressIntent, EgressOptions, EgressStamp } from './port.ts';
import { createUpstreams } from './upstream.ts';

/** The one way out of a sandbox. `handle` takes each connection that an agent makes to the proxy's address. */
export interface EgressProxy {
  handle(connection: Duplex): void;
  /** After a change of policy: what is under way and not permitted any more is cut. */
  recheck(): void;
  close(): void;
}

export function createEgress<S extends EgressStamp, I extends EgressIntent>(
  options: EgressOptions<S, I>,
): EgressProxy {
  const upstreams = createUpstreams(options.resolve);
  const exchange = new Exchange(options, upstreams);
  const destinations = new WeakMap<object, Destination>();
  const connections = new Set<Duplex>();
  const contexts = createContexts(options.certificateFor);

  const outer = boundedServer((request, response) => {
    // Plain HTTP: the target is absolute, and no TLS says anything about it.
    const place = absolute(request.url ?? '');
    if (place === null)
      refuse(
        response,
        new GloveboxError('GB_INPUT_INVALID', {
          what: 'The request to the proxy',
          detail: 'its target is not absolute',
        }),
      );
    else void exchange.serve(request, response, place.destination, place.target);
  });
  const inner = boundedServer((request, response) => {
    void exchange.serve(request, response, destinationOf(request), request.url ?? '');
  });
  const destinationOf = (request: IncomingMessage): Destination => {
    const destination = destinations.get(request.socket);
    if (destination === undefined)
      throw new GloveboxError('GB_INTERNAL', { detail: 'a connection without a destination' });
    return destination;
  };

  inner.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void exchange.upgrade(request, responseOn(request, socket), socket, head, destinationOf(request));
  });
  outer.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    refuse(
      responseOn(request, socket),
      new GloveboxError('GB_INPUT_INVALID', {
        what: 'The upgrade',
        detail: 'upgrades go through CONNECT and TLS',
      }),
    );
  });
  outer.on('connect', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void connect(request, socket, head);
  });

  async function connect(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const response = responseOn(request, socket);
    socket.on('error', () => socket.destroy());
    try {
      const { host, port } = authority(request.url ?? '');
      const refusal = decideConnect(options.policy.egress, host, port, 'https');
      if (refusal?.decision === 'deny') {
        options.audit.event({
          stamp: options.stamp(),
          operation: 'egress:CONNECT',
          target: `https://${host}:${String(port)}`,
          decision: 'deny',
          rule: refusal.rule,
          secret: null,
          alert: refusal.alert,
          detail: refusal.why,
        });
        throw new GloveboxError('GB_EGRESS_DENIED', {
          target: `${host}:${String(port)}`,
          detail: refusal.why,
          rule: refusal.rule,
          todo: refusal.todo,
        });
      }
      const name = normaliseHost(host);
      if (!name.ok) throw new GloveboxError('GB_INPUT_INVALID', { what: 'The host', detail: name.why });
      const secureContext = await contexts(name.value);
      response.writeHead(200, 'Connection Established');
      response.flushHeaders();
      response.detachSocket(socket as Socket);
      if (head.length > 0) socket.unshift(head);
      const tls = new TLSSocket(socket, {
        isServer: true,
        secureContext,
        ALPNProtocols: ['http/1.1'],
        requestCert: false,
      });
      const timer = setTimeout(() => tls.destroy(), limits.egressHandshake.value);
      tls.on('error', () => tls.destroy());
      tls.once('close', () => {
        clearTimeout(timer);
      });
      tls.once('secure', () => {
        clearTimeout(timer);
        const sni = (tls as TLSSocket & { servername?: string | false | null }).servername;
        destinations.set(tls, {
          scheme: 'https',
          host: name.value,
          port,
          sni: typeof sni === 'string' && sni !== '' ? sni : null,
        });
        inner.emit('connection', tls);
      });
    } catch (error) {
      refuse(response, asGloveboxError(error));
    }
  }

  return {
    handle: (connection) => {
      if (connections.size >= limits.egressConnections.value) {
        connection.destroy();
        return;
      }
      connections.add(connection);
      connection.once('close', () => connections.delete(connection));
      connection.on('error', () => connection.destroy());
      outer.emit('connection', connection);
    },
    recheck: () => {
      upstreams.renew();
      exchange.recheck();
    },
    close: () => {
      for (const connection of connections) connection.destroy();
      upstreams.close();
      outer.close();
      inner.close();
    },
  };
}

/** Strict parsing, bounded heads, and time limits for a head only: a body or a stream may take as long as it likes. */
function boundedServer(listener: (request: IncomingMessage, response: ServerResponse) => void): Server {
  const server = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: limits.egressHeaders.value,
      headersTimeout: limits.egressHeadersTime.value,
      requestTimeout: 0,
      connectionsCheckingInterval: limits.egressHeadersTime.value / 4,
      keepAliveTimeout: 0,
      requireHostHeader: true,
      noDelay: true,
    },
    listener,
  );
  server.maxHeadersCount = limits.egressHeaderCount.value;
  server.timeout = 0;
  // Node starts its watch over slow heads when a server listens, which this one never does [R45].
  server.emit('listening');
  server.on('checkContinue', listener);
  server.on('clientError', (error, socket) => {
    // A request that the parser does not take gets no second reading.
    if (!socket.writable) return void socket.destroy();
    socket.end(`HTTP/1.1 ${statusOf(error)}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    // An agent may keep its half open for as long as it likes.
    setTimeout(() => socket.destroy(), limits.refusedLinger.value).unref();
  });
  return server;
}

const statusOf = (error: Error): string =>
  'code' in error && error.code === 'HPE_HEADER_OVERFLOW'
    ? '431 Request Header Fields Too Large'
    : 'code' in error && error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : '400 Bad Request';

function responseOn(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.assignSocket(socket as Socket);
  response.once('finish', () => {
    if (response.statusCode >= 300) socket.end();
  });
  return response;
}

function createContexts(
  certificateFor: EgressOptions['certificateFor'],
): (host: string) => Promise<SecureContext> {
  const made = new Map<string, { readonly at: number; readonly context: Promise<SecureContext> }>();
  const renewAfter = 12 * 3_600_000;
  return (host) => {
    const known = made.get(host);
    if (known !== undefined && performance.now() - known.at < renewAfter) return known.context;
    const oldest = made.keys().next();
    if (made.size >= limits.egressCertificates.value && oldest.done !== true) made.delete(oldest.value);
    const context = certificateFor(host).then(({ keyPem, chainPem }) =>
      createSecureContext({ key: keyPem, cert: chainPem, minVersion: 'TLSv1.2' }),
    );
    made.set(host, { at: performance.now(), context });
    return context;
  };
}

/** `host:port`, nothing else: RFC 9110 section 9.3.6. */
function authority(text: string): { host: string; port: number } {
  const match = /^([^:/?#@\s]{1,253}):([1-9][0-9]{0,4})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535)
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The CONNECT target',
      detail: 'it is not host:port',
    });
  return { host: match[1] ?? '', port };
}

function absolute(text: string): { destination: Destination; target: string } | null {
  const match = /^http:\/\/([^:/?#@\s]{1,253})(?::([1-9][0-9]{0,4}))?(\/[^\s#]*)?$/.exec(text);
  if (match === null) return null;
  const port = Number(match[2] ?? '80');
  return port > 65535
    ? null
    : { destination: { scheme: 'http', host: match[1] ?? '', port, sni: null }, target: match[3] ?? '/' };
}
