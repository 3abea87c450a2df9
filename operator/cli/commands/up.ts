import { setTimeout as wait } from 'node:timers/promises';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { isUp, startDaemon } from '../daemon.ts';
import { print, printJson } from '../output.ts';

export async function up(json: boolean): Promise<number> {
  const { places, client } = connect();
  const already = await isUp(places);
  if (!already) await startDaemon(places, process.env);
  const health = await client.call('health', {});
  if (json) printJson({ ...health, started: !already, socket: places.socket });
  else
    print(
      `Glovebox ${already ? 'was already running' : 'is running'} (control plane ${health.pid}, ${places.socket}).`,
    );
  return 0;
}

export async function down(json: boolean): Promise<number> {
  const { places, client } = connect();
  const running = await isUp(places);
  if (running) {
    const { pid } = await client.call('health', {});
    await client.call('shutdown', {});
    await untilGone(pid, places.socket);
  }
  if (json) printJson({ stopped: running });
  else print(running ? 'Glovebox has stopped; staged changes are kept.' : 'Glovebox was not running.');
  return 0;
}

/** Until the process is gone: then its sandboxes are too, and the next start finds everything free. */
async function untilGone(pid: number, socket: string): Promise<void> {
  const deadline = performance.now() + limits.daemonStop.value;
  while (isAlive(pid)) {
    if (performance.now() > deadline)
      throw new GloveboxError('GB_UPSTREAM_FAILED', {
        what: `The control plane (process ${pid}, ${socket})`,
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
