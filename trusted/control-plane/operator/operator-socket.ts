import type { FastifyInstance } from 'fastify';
import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { asUserId, GloveboxError, limits, type OperatorCaller } from '../../../pure/contracts/index.ts';
import { refuseLoose } from '../../store/index.ts';

export const socketName = 'operator.sock';

/** The folder of the socket: whoever can enter it is the person (R39), so nobody else may. */
export async function openRuntimeFolder(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await refuseLoose(folder);
  return join(folder, socketName);
}

/** The person at the socket, proven by its folder, which `openRuntimeFolder` has just checked: the one cast by which there is one. */
export function personAtSocket(): OperatorCaller {
  const user = asUserId(`local/${process.getuid?.() ?? 0}`);
  return Object.freeze({ kind: 'operator', user, by: 'login' }) as unknown as OperatorCaller;
}

/** A socket that somebody answers on is in use; one that nobody answers on was left by a crash, and is removed. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_STATE_REFUSED', { path, detail, todo: `Look at ${path}.` });
  if (!found.isSocket()) throw refuse('something that is no socket lies in its place');
  if (await answers(path)) throw refuse('another process answers on it');
  await rm(path);
}

async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

/** Last of all things of a start: whoever finds the socket finds everything behind it. */
export async function listenOnSocket(app: FastifyInstance, path: string): Promise<void> {
  app.server.maxConnections = limits.operatorConnections.value;
  await app.listen({ path });
  await chmod(path, 0o600);
}
