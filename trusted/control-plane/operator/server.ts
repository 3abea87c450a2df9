import { fastifySwagger } from '@fastify/swagger';
import { fastify, type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify';
import {
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  GloveboxError,
  limits,
  operatorRoutes,
  type OperatorCaller,
  type Route,
} from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';
import { catalogued, type RequestRate } from '../../workload-http/index.ts';
import type { ApiTokens } from '../people/api-tokens.ts';
import type { EventReader, OperatorHandlers, StreamAnswer } from './handlers.ts';

export interface OperatorServerOptions {
  readonly handlers: OperatorHandlers;
  /** What a person's text for a session means; GB_NOT_FOUND, or GB_INPUT_INVALID where it means several. */
  readonly findSession: (text: string) => Promise<SessionRecord>;
  readonly caller: OperatorCaller;
  /** What a request's `Authorization` makes of its caller: less than the person of this door, or a refusal. */
  readonly tokens?: Pick<ApiTokens, 'callerOf'>;
  readonly version: string;
  readonly rate: RequestRate;
  readonly onError: (error: unknown, operation: string) => void;
  /** For tests of the rules themselves. */
  readonly routes?: Readonly<Record<string, Route>>;
  /** For a door of its own: its server, and the operations that are not served there. */
  readonly server?: NonNullable<FastifyServerOptions['serverFactory']>;
  readonly without?: readonly string[];
}

type AnyHandler = (call: {
  caller: OperatorCaller;
  params: unknown;
  query: unknown;
  body: unknown;
  reader: EventReader;
  session: SessionRecord | undefined;
}) => Promise<unknown>;

/** The operator API: one route of the registry, one handler; nothing is served that the registry does not name. */
export async function operatorServer(options: OperatorServerOptions): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: limits.operatorBody.value,
    routerOptions: { maxParamLength: 64 },
    forceCloseConnections: true,
    ...(options.server === undefined ? {} : { serverFactory: options.server }),
    frameworkErrors: (_error, _request, reply) => {
      const error = new GloveboxError('GB_INPUT_INVALID', {
        what: 'The request',
        detail: 'its target is no path',
      });
      const { raw } = reply.hijack();
      raw.writeHead(error.status, { 'content-type': 'application/json' }).end(JSON.stringify(error.toBody()));
    },
  }).withTypeProvider<ZodTypeProvider>();
  // JSON is the one form of a body: a page of another site can send text without being asked.
  app.removeContentTypeParser('text/plain');
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  await app.register(fastifySwagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Glovebox operator API', version: options.version } },
    transform: jsonSchemaTransform,
  });
  app.setErrorHandler(async (error, request, reply) => {
    const known = catalogued(error);
    if (known.code === 'GB_INTERNAL') options.onError(error, request.routeOptions.url ?? 'unknown');
    return await reply.status(known.status).send(known.toBody());
  });
  app.setNotFoundHandler(async (request, reply) => {
    const error = new GloveboxError('GB_NOT_FOUND', {
      what: 'such operation',
      detail: `${request.method} ${request.url.split('?')[0] ?? ''}`,
    });
    return await reply.status(error.status).send(error.toBody());
  });
  const handlers = options.handlers as unknown as Readonly<Record<string, AnyHandler>>;
  for (const [name, route] of Object.entries(options.routes ?? operatorRoutes) as [string, Route][]) {
    if (options.without?.includes(name) === true) continue;
    app.route({
      method: route.method,
      url: route.path,
      schema: {
        operationId: name,
        ...(streams(route) ? { produces: [...streamTypes] } : {}),
        ...(route.params === undefined ? {} : { params: route.params }),
        ...(route.query === undefined ? {} : { querystring: route.query }),
        ...(route.body === undefined ? {} : { body: route.body }),
        response: { 200: streams(route) ? z.any() : route.response },
      },
      handler: async (request, reply) => {
        options.rate.count(options.caller.user);
        // This socket is a person's: whatever else the registry lets call a route, nobody else is here (R2, R3).
        if (!route.callers.includes(options.caller.kind)) {
          throw new GloveboxError('GB_CALLER_REFUSED', {
            operation: name,
            allowed: route.callers.join(', '),
          });
        }
        const caller = await callerOfRequest(request, name, options);
        if (name === 'openapi') return app.swagger();
        if (name === 'attachSession') throw upgradeNeeded();
        const handler = handlers[name];
        if (handler === undefined)
          throw new GloveboxError('GB_INTERNAL', { detail: `${name} has no handler` });
        const answer = await handler({
          caller,
          params: request.params,
          query: request.query,
          body: request.body,
          reader: readerOf(request),
          session: await sessionOfRequest(route, request, options),
        });
        if (!streams(route)) return answer;
        const { contentType, stream } = answer as StreamAnswer;
        request.raw.once('close', () => stream.destroy());
        return await reply.type(contentType).serializer(asIs).send(stream);
      },
    });
  }
  return app;
}

/** Who shows a token is who the token is, whatever door it came through: never more than the person of the door. */
async function callerOfRequest(
  { headers }: FastifyRequest,
  operation: string,
  { caller, tokens }: OperatorServerOptions,
): Promise<OperatorCaller> {
  const { authorization } = headers;
  if (authorization === undefined) return caller;
  if (tokens === undefined)
    throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'tokens are not taken here' });
  const shown = await tokens.callerOf(authorization, operation);
  // On one machine there is one person: a token of another one's is of another installation's past.
  if (shown.user !== caller.user)
    throw new GloveboxError('GB_CALLER_MISMATCH', { named: shown.user, caller: caller.user });
  return shown;
}

function readerOf({ headers }: FastifyRequest): EventReader {
  const lastId = headers['last-event-id'];
  return {
    serverSent: (headers.accept ?? '').includes('text/event-stream'),
    lastId: typeof lastId === 'string' ? lastId : undefined,
  };
}

/** What a stream may be: metrics, lines of JSON, events for a browser, or a session's bytes. */
const streamTypes = [
  'text/plain',
  'application/x-ndjson',
  'text/event-stream',
  'application/octet-stream',
] as const;
const asIs = (payload: unknown): string => payload as string;
const streams = (route: Route): boolean => route.response instanceof z.ZodNull;

async function sessionOfRequest(
  route: Route,
  request: FastifyRequest,
  options: OperatorServerOptions,
): Promise<SessionRecord | undefined> {
  if (route.owner !== 'operator-session') return undefined;
  return await options.findSession((request.params as { id: string }).id);
}

const upgradeNeeded = (): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', {
    what: 'The request',
    detail: 'attach is an upgrade to glovebox-attach',
  });
