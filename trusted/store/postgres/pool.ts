import type { PostgresPool, PostgresPoolClient } from 'kysely';
import { Pool, type ClientConfig, type PoolClient } from 'pg';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';

/** The pool as Kysely takes it. A connection that breaks is an error of the catalogue, and never one that nobody hears. */
export function openPool(login: ClientConfig, place: string): PostgresPool {
  const pool = new Pool({ ...login, max: limits.storeConnections.value });
  // An idle connection that ends (a server that restarts) is replaced by the next use.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    // One in use says so to its statement, too; the event alone would end the process.
    client.on('error', () => undefined);
  });
  return {
    connect: async () => {
      try {
        return watched(await pool.connect(), place);
      } catch (error) {
        throw unavailable(error, place);
      }
    },
    end: async () => await pool.end(),
  };
}

function watched(client: PoolClient, place: string): PostgresPoolClient {
  let broken: Error | undefined;
  return new Proxy<PoolClient>(client, {
    get: (target, name) => {
      if (name === 'query') {
        return async (...words: Parameters<PoolClient['query']>): Promise<unknown> => {
          try {
            return target.query(...words);
          } catch (error) {
            if (!isLost(error)) throw error;
            broken = error instanceof Error ? error : new Error('the connection was lost');
            throw unavailable(error, place);
          }
        };
      }
      // A connection whose state nobody knows is not handed to the next.
      if (name === 'release') return () => target.release(broken);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** SQLSTATE classes 08 (connection), 53 (resources), 57 (intervention), 25P03 and 55P03 (time); or no SQLSTATE at all. */
function isLost(error: unknown): boolean {
  if (!(error instanceof Error)) return true;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return /^(?:08|53|57)/.test(code) || code === '25P03' || code === '55P03' || !/^[0-9A-Z]{5}$/.test(code);
}

export const unavailable = (error: unknown, path: string): GloveboxError =>
  error instanceof GloveboxError
    ? error
    : new GloveboxError(
        'GB_STORE_UNAVAILABLE',
        { path, detail: error instanceof Error ? error.message.slice(0, 200) : 'the connection was lost' },
        { cause: error },
      );
