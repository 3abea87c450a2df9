import { GloveboxError } from '../../pure/contracts/index.ts';

export const upstreamError = (host: string, error: Error): GloveboxError => {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return new GloveboxError('GB_UPSTREAM_FAILED', { what: host, detail: code }, { cause: error });
};
