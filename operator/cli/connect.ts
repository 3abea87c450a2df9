import { GloveboxError } from '../../pure/contracts/index.ts';
import { createOperatorClient, type OperatorClient } from '../client/index.ts';
import { findPlaces, requirePrivate, type Places } from './places.ts';

export interface Connection {
  readonly places: Places;
  readonly client: OperatorClient;
}

/** The control plane that is there; nothing is started, and nothing is sent yet. */
export function connect(): Connection {
  const places = findPlaces(process.env);
  requirePrivate(places.runtime);
  return { places, client: createOperatorClient(places.socket, tokenOf(process.env)) };
}

/** Does `work`, and does it once more after starting the control plane where that was not running. */
export async function withDaemon<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof GloveboxError) || error.code !== 'GB_DAEMON_UNREACHABLE') throw error;
  }
  const { startDaemon } = await import('./daemon.ts');
  await startDaemon(connection.places, process.env);
  return work();
}

/** An API token to ask with, in place of being the person. One that is empty is an accident, not the person again. */
function tokenOf(env: NodeJS.ProcessEnv): string | undefined {
  const token = env['GLOVEBOX_TOKEN'];
  if (token === undefined || /^\S+$/.test(token)) return token;
  throw new GloveboxError('GB_USAGE', { detail: 'GLOVEBOX_TOKEN', hint: 'It is set, and holds no token.' });
}
