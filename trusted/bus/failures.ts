import { JetStreamApiError } from '@nats-io/jetstream';
import {
  ClosedConnectionError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
} from '@nats-io/transport-node';
import { GloveboxError } from '../../pure/contracts/index.ts';

/** A failure of the NATS library as one of the catalogue; the library's is its `cause`. */
export function busFailure(error: unknown, subject: string): GloveboxError {
  if (error instanceof GloveboxError) return error;
  const inner = innermost(error);
  if (inner instanceof PermissionViolationError) return refused(inner);
  if (inner instanceof NoRespondersError) {
    return new GloveboxError(
      'GB_UPSTREAM_FAILED',
      { what: subject, detail: 'nobody serves it' },
      { cause: inner },
    );
  }
  if (inner instanceof TimeoutError) {
    return new GloveboxError(
      'GB_UPSTREAM_FAILED',
      { what: subject, detail: 'no answer in time' },
      { cause: inner },
    );
  }
  const detail = inner instanceof Error ? inner.message : 'connection lost';
  return new GloveboxError('GB_BUS_UNAVAILABLE', { detail }, { cause: error });
}

export const refused = (error: PermissionViolationError): GloveboxError =>
  new GloveboxError(
    'GB_BUS_REFUSED',
    { operation: error.operation, subject: error.subject },
    { cause: error },
  );

/** True when a request surely reached nobody; of any other failure the outcome is unknown (R42). */
export const isUndelivered = (error: unknown): boolean => {
  const inner = error instanceof GloveboxError ? error.cause : error;
  return inner instanceof NoRespondersError || inner instanceof PermissionViolationError;
};

/** JetStream's codes for what passes by itself: not enabled, no leader, a server of the cluster not there or not ready. */
const passing: ReadonlySet<number> = new Set([
  10_004, 10_005, 10_008, 10_009, 10_023, 10_039, 10_076, 10_118,
]);

/**
 * True when JetStream could not say yes or no: a server that reads its configuration anew, starts, or waits for the cluster's
 * next leader. The same message may be sent again under the same id.
 */
export function isPassing(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (inner instanceof JetStreamApiError) return passing.has(inner.code);
    if (inner instanceof NoRespondersError || inner instanceof TimeoutError) return true;
    if (inner instanceof ClosedConnectionError) return true;
  }
  return false;
}

function innermost(error: unknown): unknown {
  if (error instanceof RequestError && error.cause !== undefined) return error.cause;
  return error;
}
