import { fastify, type FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { createServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { GloveboxError, limits, type Route, type TrustDomain } from '../../pure/contracts/index.ts';
import {
  peerCaller,
  rotateServer,
  serverTlsOptions,
  type ClientCertificate,
  type ConnectionRegistry,
  type TlsIdentity,
} from '../identity/index.ts';
import { catalogued } from './catalogued.ts';
import { callerName, guard, type PeerCaller } from './guard.ts';
import type { WorkloadHandlers } from './handlers.ts';
import type { RequestRate } from './request-rate.ts';

export interface RouteServerOptions<Routes extends Record<string, Route>> {
  readonly routes: Routes;
  readonly handlers: WorkloadHandlers<Routes>;
  readonly identity: TlsIdentity;
  readonly trustDomain: TrustDomain;
  /** `requested` only where a route is open to peers without a certificate (join). */
  readonly clientCertificate: ClientCertificate;
  /** Ends connections with their certificate, and at a revocation (R4). */
  readonly connections: ConnectionRegistry;
  readonly rate: RequestRate;
  readonly now: () => number;
  readonly onRefused: (caller: PeerCaller, operation: string, error: GloveboxError) => void;
  readonly onError: (error: unknown, operation: string) => void;
}

export interface RouteServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

type AnyHandler = (call: { caller: PeerCaller; body: unknown; params: unknown }) => Promise<unknown>;

/** Serves a route registry over mutual TLS on the loopback; the caller of each request is the connection's certificate. */
export async function serveRoutes<Routes extends Record<string, Route>>(
  options: RouteServerOptions<Routes>,
  port: number,
): Promise<RouteServer> {
  let server: HttpsServer | undefined;
  const app = fastify({
    bodyLimit: limits.workloadBody.value,
    forceCloseConnections: true,
    serverFactory: (handler) => {
      server = createServer(serverTlsOptions(options.identity, options.clientCertificate), handler);
      return server;
    },
  });
  addRoutes(app, options);
  await app.ready();
  if (server === undefined) throw new GloveboxError('GB_INTERNAL', { detail: 'no server was made' });
  admitPeers(server, options);
  const stopRotation = rotateServer(server, options.identity);
  await app.listen({ host: '127.0.0.1', port });
  const { port: bound } = server.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port: bound,
    close: async () => {
      stopRotation();
      await app.close();
    },
  };
}

const callerOf = <R extends Record<string, Route>>(
  socket: TLSSocket,
  options: RouteServerOptions<R>,
): PeerCaller => peerCaller(socket, { trustDomain: options.trustDomain, role: 'client', now: options.now });

/** A connection whose certificate is not good is ended before its first request. */
function admitPeers<R extends Record<string, Route>>(
  server: HttpsServer,
  options: RouteServerOptions<R>,
): void {
  server.on('secureConnection', (socket: TLSSocket) => {
    try {
      const caller = callerOf(socket, options);
      if (caller.kind === 'workload') options.connections.admit(caller, socket);
    } catch (error) {
      options.onError(error, 'a connection');
      socket.destroy();
    }
  });
}

function addRoutes<R extends Record<string, Route>>(
  app: FastifyInstance,
  options: RouteServerOptions<R>,
): void {
  const typed = app.withTypeProvider<ZodTypeProvider>();
  typed.setValidatorCompiler(validatorCompiler);
  typed.setSerializerCompiler(serializerCompiler);
  typed.setErrorHandler(async (error, request, reply) => {
    const known = catalogued(error);
    if (known.code === 'GB_INTERNAL') options.onError(error, request.routeOptions.url ?? 'unknown');
    return await reply.status(known.status).send(known.toBody());
  });
  typed.setNotFoundHandler(async (request, reply) => {
    const error = new GloveboxError('GB_NOT_FOUND', { what: 'such operation', detail: request.method });
    return await reply.status(error.status).send(error.toBody());
  });
  const handlers = options.handlers as unknown as Readonly<Record<string, AnyHandler>>;
  for (const [name, route] of Object.entries<Route>(options.routes)) {
    typed.route({
      method: route.method,
      url: route.path,
      schema: {
        ...(route.params === undefined ? {} : { params: route.params }),
        ...(route.query === undefined ? {} : { querystring: route.query }),
        ...(route.body === undefined ? {} : { body: route.body }),
        response: { 200: route.response },
      },
      // Before validation: a stranger does not even learn what a request should look like.
      preValidation: async (request) => {
        const caller = callerOf(request.raw.socket as TLSSocket, options);
        options.rate.count(callerName(caller));
        try {
          const { params, query, body, headers } = request;
          guard(name, route, caller, { params, query, body, headers });
        } catch (error) {
          const refusal = catalogued(error);
          options.onRefused(caller, name, refusal);
          throw refusal;
        }
      },
      handler: async (request) => {
        const handler = handlers[name];
        if (handler === undefined)
          throw new GloveboxError('GB_INTERNAL', { detail: `${name} has no handler` });
        return await handler({
          caller: callerOf(request.raw.socket as TLSSocket, options),
          body: request.body,
          params: route.owner === 'none' ? request.params : undefined,
        });
      },
    });
  }
}
