import type { Readable } from 'node:stream';
import type { z } from 'zod';
import type { OperatorCaller, OperatorRoutes, Route } from '../../../pure/contracts/index.ts';
import type { SessionRecord } from '../../store/index.ts';

type Parsed<S> = S extends z.ZodType ? z.infer<S> : undefined;
type Part<R, K extends 'params' | 'query' | 'body'> = R extends Record<K, infer S> ? Parsed<S> : undefined;

/** A body that is written as it comes: NDJSON, or bytes. */
export interface StreamAnswer {
  readonly contentType: string;
  readonly stream: Readable;
}

/** How a stream of events is wanted: for a browser, and from where on. */
export interface EventReader {
  readonly serverSent: boolean;
  readonly lastId: string | undefined;
}

export interface OperatorCall<R extends Route> {
  readonly caller: OperatorCaller;
  readonly params: Part<R, 'params'>;
  readonly query: Part<R, 'query'>;
  readonly body: Part<R, 'body'>;
  readonly reader: EventReader;
  /** What `:id` means, where the route's owner rule is `operator-session`. */
  readonly session: R['owner'] extends 'operator-session' ? SessionRecord : undefined;
}

type Answer<R extends Route> = null extends z.infer<R['response']> ? StreamAnswer : z.input<R['response']>;

/** Routes that are answered by the server itself: the upgrade of `attach`, and the description of the API. */
export type ServerRoutes = 'attachSession' | 'openapi';

/** Typed by the registry: a route without a handler does not compile, nor does a handler of no route. */
export type OperatorHandlers = {
  readonly [K in Exclude<keyof OperatorRoutes, ServerRoutes>]: (
    call: OperatorCall<OperatorRoutes[K]>,
  ) => Promise<Answer<OperatorRoutes[K]>>;
};
