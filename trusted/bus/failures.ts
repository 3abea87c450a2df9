import {
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

function innermost(error: unknown): unknown {
  if (error instanceof RequestError && error.cause !== undefined) return error.cause;
  return error;
}
