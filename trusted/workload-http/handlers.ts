import type { z } from 'zod';
import type { AnonymousCaller, CallerKind, Route, WorkloadCaller } from '../../pure/contracts/index.ts';

type Parsed<S> = S extends z.ZodType ? z.infer<S> : undefined;
type CallerOf<Kinds extends readonly CallerKind[]> = 'anonymous' extends Kinds[number]
  ? AnonymousCaller
  : WorkloadCaller;

/**
 * Handlers get the proven caller and the body. Path parameters are there only where the object is not the caller's own
 * (`owner: 'none'`), so that no handler can take a session from a path by mistake (R2).
 */
export interface WorkloadCall<R extends Route> {
  readonly caller: CallerOf<R['callers']>;
  readonly body: R extends Record<'body', infer S> ? Parsed<S> : undefined;
  readonly params: R['owner'] extends 'none'
    ? R extends Record<'params', infer S>
      ? Parsed<S>
      : undefined
    : undefined;
}

/** Typed by the registry: a route without a handler does not compile. */
export type WorkloadHandlers<Routes extends Record<string, Route>> = {
  readonly [K in keyof Routes]: (call: WorkloadCall<Routes[K]>) => Promise<z.input<Routes[K]['response']>>;
};
