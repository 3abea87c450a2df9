import type { Readable } from 'node:stream';
import type { z } from 'zod';
import {
  GloveboxError,
  type ImageLine,
  type OperatorEvent,
  type OperatorRoutes,
} from '../../pure/contracts/index.ts';
import { exchangeJson, open } from './http-exchange.ts';
import { readNdjson } from './ndjson.ts';
import { routeTable, type RouteName } from './route-table.ts';

/** Routes whose answer is a stream of their own, not one JSON value. */
type StreamRoute = 'metrics' | 'pullImage' | 'attachSession' | 'events' | 'exportAudit' | 'getSandboxLogs';
export type JsonRoute = Exclude<RouteName, StreamRoute>;

type Part<R, Name extends 'params' | 'query' | 'body'> =
  R extends Record<Name, infer S extends z.ZodType> ? { readonly [N in Name]: z.input<S> } : unknown;
type OptionalQuery<R> = R extends { query: infer S extends z.ZodType }
  ? { readonly query?: z.input<S> }
  : unknown;
/** What an operation takes: its path's parameters and body, and its query where one is wanted. */
export type RouteInput<K extends RouteName> = Part<OperatorRoutes[K], 'params'> &
  Part<OperatorRoutes[K], 'body'> &
  OptionalQuery<OperatorRoutes[K]>;
export type RouteOutput<K extends RouteName> = z.output<OperatorRoutes[K]['response']>;

export interface OperatorClient {
  readonly socketPath: string;
  call<K extends JsonRoute>(name: K, input: RouteInput<K>, signal?: AbortSignal): Promise<RouteOutput<K>>;
  /** What happens from now on, in all sessions or one; ends when `signal` aborts or the control plane does. */
  events(session: string | undefined, signal: AbortSignal): Promise<AsyncIterable<OperatorEvent>>;
  logs(id: string, follow?: boolean): Promise<Readable>;
  /** Fetches an image where it is not there; the lines end with its digest or the error. */
  pullImage(reference: string): Promise<AsyncIterable<ImageLine>>;
  exportAudit(session: string | undefined): Promise<Readable>;
  metrics(): Promise<Readable>;
}

interface AnyInput {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
}

export function routePath(name: RouteName, input: AnyInput): string {
  const path = routeTable[name].path.replace(/:(\w+)/g, (_, key: string) =>
    encodeURIComponent(input.params?.[key] ?? ''),
  );
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(input.query ?? {}))
    if (value !== undefined) query.set(key, String(value));
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

/** The operator API over its Unix socket. Who can open that socket is the person (R39). */
export function createOperatorClient(socketPath: string, token?: string): OperatorClient {
  const exchange = (name: RouteName, input: AnyInput, signal?: AbortSignal) => ({
    socketPath,
    token,
    method: routeTable[name].method,
    path: routePath(name, input),
    body: input.body,
    signal,
  });
  return {
    socketPath,
    async call<K extends JsonRoute>(name: K, input: RouteInput<K>, signal?: AbortSignal) {
      return (await exchangeJson(exchange(name, input as AnyInput, signal))) as RouteOutput<K>;
    },
    async events(session, signal) {
      const res = await open(exchange('events', { query: { session } }, signal));
      return untilTheEnd(readNdjson<OperatorEvent>(res));
    },
    logs: (id, follow) =>
      open(
        exchange('getSandboxLogs', {
          params: { id },
          query: { follow: follow === true ? 'true' : undefined },
        }),
      ),
    pullImage: async (reference) =>
      readNdjson<ImageLine>(await open(exchange('pullImage', { body: { reference } }))),
    metrics: () => open(exchange('metrics', {})),
    exportAudit: (session) => open(exchange('exportAudit', { query: { session } })),
  };
}

/** A connection that breaks or is aborted ends the events; only a breach of the format is an error. */
async function* untilTheEnd<T>(events: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    yield* events;
  } catch (error) {
    if (error instanceof GloveboxError || error instanceof SyntaxError) throw error;
  }
}
