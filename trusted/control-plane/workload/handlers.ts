import type { z } from 'zod';
import type { CallerKind, Route, WorkloadRoutes } from '../../../pure/contracts/index.ts';
import type { AnonymousCaller, WorkloadCaller } from '../../../pure/contracts/index.ts';

type Parsed<S> = S extends z.ZodType ? z.infer<S> : undefined;
type CallerOf<Kinds extends readonly CallerKind[]> = 'anonymous' extends Kinds[number]
  ? AnonymousCaller
  : WorkloadCaller;

/** Handlers get the proven caller and the body; no path parameter, so that none can be trusted by mistake (R2). */
export interface WorkloadCall<R extends Route> {
  readonly caller: CallerOf<R['callers']>;
  readonly body: R extends Record<'body', infer S> ? Parsed<S> : undefined;
  /** Only where the object is not the caller's own (`owner: 'none'`). */
  readonly params: R['owner'] extends 'none' ? (R extends Record<'params', infer S> ? Parsed<S> : undefined) : undefined;
}

export type WorkloadHandlers = {
  readonly [K in keyof WorkloadRoutes]: (
    call: WorkloadCall<WorkloadRoutes[K]>,
  ) => Promise<z.input<WorkloadRoutes[K]['response']>>;
};
