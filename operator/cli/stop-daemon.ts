import { setTimeout as wait } from 'node:timers/promises';
import { GloveboxError, limits, type SessionView } from '../../pure/contracts/index.ts';
import type { OperatorClient } from '../client/index.ts';

export const runningSessions = async (client: OperatorClient): Promise<SessionView[]> =>
  await client.call('listSessions', { query: { all: 'false' } });

/** Ends the control plane that runs, and waits until its process is gone: then its sandboxes are too, and everything is free. */
export async function endDaemon(client: OperatorClient): Promise<void> {
  const { pid } = await client.call('health', {});
  await client.call('shutdown', {});
  const deadline = performance.now() + limits.daemonStop.value;
  while (isAlive(pid)) {
    if (performance.now() > deadline)
      throw new GloveboxError('GB_UPSTREAM_FAILED', {
        what: `The control plane (process ${pid}, ${client.socketPath})`,
        detail: `it did not end within ${limits.daemonStop.value / 1000} s`,
      });
    await wait(20);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
