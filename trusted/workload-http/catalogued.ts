import { asGloveboxError, GloveboxError } from '../../pure/contracts/index.ts';

/** Fastify's own refusals (validation, size, media type) in the words of the catalogue; what is unknown says nothing. */
export function catalogued(error: unknown): GloveboxError {
  if (error instanceof GloveboxError) return error;
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  if (error instanceof Error && typeof status === 'number' && status >= 400 && status < 500) {
    if (status === 413) {
      return new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'body size',
        detail: 'the request is too large',
      });
    }
    return new GloveboxError('GB_INPUT_INVALID', { what: 'The request', detail: error.message });
  }
  return asGloveboxError(error);
}
