import { fastify, type FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Server as HttpsServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import {
  GloveboxError,
  limits,
  workloadRoutes,
  type Route,
} from '../../../pure/contracts/index.ts';
import { catalogued } from '../operator/server.ts';
import type { RequestRate } from '../request-rate.ts';
import { callerName, guard, type PeerCaller } from './guard.ts';
import type { WorkloadHandlers } from './handlers.ts';

export interface WorkloadServerOptions {
  /** An HTTPS server of trusted/identity: TLS 1.3, its certificate rotated, a client certificate asked for. */
  readonly server: (handler: (...args: never[]) => void) => HttpsServer;
  /** Reads the caller from the connection, and from nothing else; throws where its certificate is not good. */
  readonly callerOf: (socket: TLSSocket) => PeerCaller;
  readonly handlers: WorkloadHandlers;
  readonly rate: RequestRate;
  readonly onRefused: (caller: PeerCaller, operation: string, error: GloveboxError) => void;
  readonly onError: (error: unknown, operation: string) => void;
}

type AnyHandler = (call: { caller: PeerCaller; body: unknown; params: unknown }) => Promise<unknown>;

export function workloadServer(options: WorkloadServerOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: limits.workloadBody.value,
    forceCloseConnections: true,
    serverFactory: (handler) => options.server(handler as (...args: never[]) => void),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(async (error, request, reply) => {
    const known = catalogued(error);
    if (known.code === 'GB_INTERNAL') options.onError(error, request.routeOptions.url ?? 'unknown');
    return await reply.status(known.status).send(known.toBody());
  });
  app.setNotFoundHandler(async (request, reply) => {
    const error = new GloveboxError('GB_NOT_FOUND', { what: 'such operation', detail: request.method });
    return await reply.status(error.status).send(error.toBody());
  });
  const handlers = options.handlers as unknown as Readonly<Record<string, AnyHandler>>;
  for (const [name, route] of Object.entries(workloadRoutes) as [string, Route][]) {
    app.route({
      method: route.method,
      url: route.path,
      schema: {
        ...(route.params === undefined ? {} : { params: route.params }),
        ...(route.query === undefined ? {} : { querystring: route.query }),
        ...(route.body === undefined ? {} : { body: route.body }),
        response: { 200: route.response },
      },
      // Before validation, so that a stranger does not even learn what a request should look like.
      preValidation: async (request) => {
        const caller = options.callerOf(request.raw.socket as TLSSocket);
        options.rate.count(callerName(caller));
        try {
          guard(name, route, caller, { params: request.params, query: request.query, body: request.body });
        } catch (error) {
          const refusal = catalogued(error);
          options.onRefused(caller, name, refusal);
          throw refusal;
        }
      },
      handler: async (request) => {
        const handler = handlers[name];
        if (handler === undefined) throw new GloveboxError('GB_INTERNAL', { detail: `${name} has no handler` });
        return await handler({
          caller: options.callerOf(request.raw.socket as TLSSocket),
          body: request.body,
          params: route.owner === 'none' ? request.params : undefined,
        });
      },
    });
  }
  return app;
}
