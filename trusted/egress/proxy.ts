import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type IncomingHttpHeaders } from 'node:http2';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { asGloveboxError, GloveboxError, limits } from '../../pure/contracts/index.ts';
import { decideConnect, normaliseHost } from '../../pure/egress/index.ts';
import { Exchange } from './exchange.ts';
import { http1Inbound, http2Inbound, refuse, type Destination } from './inbound.ts';
import { neededRule } from './permission.ts';
import type { EgressIntent, EgressOptions, EgressStamp } from './port.ts';
import { refuseMalformed } from '../workload-http/index.ts';
import { endResetFloods } from './resets.ts';
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
  /** By the TLS connection of HTTP/1.1, or the session of HTTP/2. */
  const destinations = new WeakMap<object, Destination>();
  const connections = new Set<Duplex>();
  const doors = createDoors(options.certificateFor, (tls, host, port) => {
    tls.on('error', () => tls.destroy());
    const { servername } = tls as TLSSocket & { servername?: string | false | null };
    const sni = typeof servername === 'string' && servername !== '' ? servername : null;
    const destination: Destination = { scheme: 'https', host, port, sni };
    if (tls.alpnProtocol !== 'h2') {
      destinations.set(tls, destination);
      inner.emit('connection', tls);
      return;
    }
    inner2.once('session', (session) => destinations.set(session, destination));
    inner2.emit('connection', tls);
  });

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
    else void exchange.serve(http1Inbound(request, response, place.target), place.destination);
  });
  const inner = boundedServer((request, response) => {
    void exchange.serve(http1Inbound(request, response, request.url ?? ''), destinationOf(request.socket));
  });
  // HTTP/2 only by ALPN within TLS: prior knowledge and h2c upgrades are not spoken anywhere.
  const inner2 = boundedHttp2Server();
  inner2.on('stream', (stream, headers: IncomingHttpHeaders, _, raw?: string[]) => {
    stream.on('error', () => stream.destroy());
    const destination = destinations.get(stream.session ?? {});
    if (destination === undefined) stream.destroy();
    else void exchange.serve(http2Inbound(stream, headers, raw ?? []), destination);
  });
  const destinationOf = (carrier: object): Destination => {
    const destination = destinations.get(carrier);
    if (destination === undefined)
      throw new GloveboxError('GB_INTERNAL', { detail: 'a connection without a destination' });
    return destination;
  };

  inner.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void exchange.upgrade(request, responseOn(request, socket), socket, head, destinationOf(request.socket));
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
          ...neededRule(refusal.needs),
        });
      }
      const name = normaliseHost(host);
      if (!name.ok) throw new GloveboxError('GB_INPUT_INVALID', { what: 'The host', detail: name.why });
      const door = await doors(name.value, port);
      response.writeHead(200, 'Connection Established');
      response.flushHeaders();
      response.detachSocket(socket as Socket);
      if (head.length > 0) socket.unshift(head);
      door.emit('connection', socket);
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
      inner2.close();
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
  refuseMalformed(server);
  return server;
}

/** Floods of resets, settings, pings and empty frames are ended by the library (nghttp2); these bound what is left. */
function boundedHttp2Server(): Http2Server {
  const server = createHttp2Server({
    settings: {
      enablePush: false,
      enableConnectProtocol: false,
      initialWindowSize: limits.egressWindow.value,
      maxConcurrentStreams: limits.egressStreams.value,
      maxHeaderListSize: limits.egressHeaders.value,
    },
    maxHeaderListPairs: limits.egressHeaderCount.value,
    maxSessionMemory: 32,
    maxOutstandingPings: 4,
  });
  server.on('sessionError', () => undefined);
  server.on('session', (session) => {
    endResetFloods(session, () => performance.now());
    session.once('remoteSettings', () => {
      session.setLocalWindowSize(limits.egressWindow.value * 4);
    });
    session.on('error', () => session.destroy());
  });
  return server;
}

function responseOn(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.assignSocket(socket as Socket);
  response.once('finish', () => {
    if (response.statusCode >= 300) socket.end();
  });
  return response;
}

/** The TLS ends that stand for an upstream's: one for each host and port, with the session's own certificate for the host. */
function createDoors(
  certificateFor: EgressOptions['certificateFor'],
  enter: (tls: TLSSocket, host: string, port: number) => void,
): (host: string, port: number) => Promise<TlsServer> {
  const made = new Map<string, { readonly at: number; readonly door: Promise<TlsServer> }>();
  const renewAfter = 12 * 3_600_000;
  return (host, port) => {
    const key = `${host}:${String(port)}`;
    const known = made.get(key);
    if (known !== undefined && performance.now() - known.at < renewAfter) return known.door;
    const oldest = made.keys().next();
    if (made.size >= limits.egressCertificates.value && oldest.done !== true) made.delete(oldest.value);
    const door = certificateFor(host).then(({ keyPem, chainPem }) => {
      const server = createTlsServer({
        key: keyPem,
        cert: chainPem,
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['h2', 'http/1.1'],
        handshakeTimeout: limits.egressHandshake.value,
      });
      server.on('secureConnection', (tls) => {
        enter(tls, host, port);
      });
      return server;
    });
    door.catch(() => made.delete(key));
    made.set(key, { at: performance.now(), door });
    return door;
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
