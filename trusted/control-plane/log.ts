import { destination, pino, type Logger } from 'pino';
import { GloveboxError } from '../../pure/contracts/index.ts';

export type Log = Logger;

/**
 * JSON lines on standard error, which whoever starts the control plane keeps in a file of the state folder. Objects are logged
 * by the names that we choose; of an error its kind and its words from the catalogue, since a library's own words may hold
 * what was being handled (R27).
 */
export function createLog(): Log {
  return pino(
    {
      base: null,
      level: 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'token',
          'joinToken',
          'value',
          'sealed',
          'authorization',
          '*.token',
          '*.joinToken',
          '*.value',
          '*.sealed',
        ],
      },
    },
    destination({ fd: 2, sync: true }),
  );
}

export function errorFacts(error: unknown): Record<string, unknown> {
  if (error instanceof GloveboxError) {
    const inner =
      error.code === 'GB_INTERNAL' && error.cause !== undefined ? { cause: errorFacts(error.cause) } : {};
    return { code: error.code, what: error.what, why: error.why, ...inner };
  }
  if (error instanceof Error) {
    const code = 'code' in error ? { code: String(error.code) } : {};
    // Where it happened is ours to tell; the message may not be.
    return {
      name: error.name,
      ...code,
      at: error.stack
        ?.split('\n')
        .slice(1, 5)
        .map((line) => line.trim()),
    };
  }
  return { name: typeof error };
}
