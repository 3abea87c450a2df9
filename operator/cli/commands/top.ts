import { GloveboxError, type SessionUse } from '../../../pure/contracts/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { connect } from '../connect.ts';
import { print, printJson, table } from '../output.ts';
import { TerminalInput } from '../terminal/terminal-input.ts';

const everyMs = 2000;

/** `glovebox top`: once through pipes, again and again on a terminal. */
export async function top(once: boolean, json: boolean): Promise<number> {
  const { client } = connect();
  const first = await uses(client);
  if (json) {
    printJson(first);
    return 0;
  }
  if (once || !process.stdout.isTTY || !process.stdin.isTTY) {
    process.stdout.write(first.length === 0 ? 'No session is running.\n' : pageOf(first, new Map()));
    return 0;
  }
  await watch(client, first);
  return 0;
}

/** A control plane that does not run has no sessions. */
async function uses(client: OperatorClient): Promise<SessionUse[]> {
  try {
    return await client.call('sessionUsage', {});
  } catch (error) {
    if (error instanceof GloveboxError && error.code === 'GB_DAEMON_UNREACHABLE') return [];
    throw error;
  }
}

async function watch(client: OperatorClient, first: readonly SessionUse[]): Promise<void> {
  const left = new AbortController();
  const input = new TerminalInput(process.stdin, () => left.abort());
  const restore = (): void => input.restore();
  process.once('exit', restore);
  input.claim((chunk) => {
    // q, Ctrl-C, Ctrl-D.
    if (chunk.some((byte) => byte === 0x71 || byte === 3 || byte === 4)) left.abort();
  }, true);
  let before = new Map<string, SessionUse>();
  let now = first;
  while (!left.signal.aborted) {
    const page = now.length === 0 ? 'No session is running.\n' : pageOf(now, before);
    process.stdout.write(`\u001b[H\u001b[2J${page.replaceAll('\n', '\r\n')}`);
    before = new Map(now.map((use) => [use.id, use]));
    await pause(everyMs, left.signal);
    now = await uses(client);
  }
  restore();
  print('');
}

const pause = (ms: number, stop: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stop.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

export function pageOf(now: readonly SessionUse[], before: ReadonlyMap<string, SessionUse>): string {
  const rows = now.map((use) => [
    use.name,
    use.tier,
    cpuOf(use, before.get(use.id)),
    share(use.used.memoryBytes, use.allowed.memoryBytes),
    share(use.used.diskBytes, use.allowed.diskBytes),
    String(use.used.processes),
    leftOf(use),
    use.command.join(' '),
  ]);
  return table(['NAME', 'TIER', 'CPU', 'MEMORY', 'DISK', 'PROCESSES', 'TIME LEFT', 'COMMAND'], rows, 40);
}

/** Cores of the tier's: between two looks, or, at the first one, what was used so far. */
function cpuOf(use: SessionUse, before: SessionUse | undefined): string {
  if (before === undefined) return `${(use.used.cpuMs / 1000).toFixed(1)} s`;
  const passed = Date.parse(use.at) - Date.parse(before.at);
  const cores = passed <= 0 ? 0 : Math.max(0, use.used.cpuMs - before.used.cpuMs) / passed;
  return `${cores.toFixed(2)} of ${use.allowed.vcpu}`;
}

function leftOf(use: SessionUse): string {
  const minutes = Math.max(0, Math.round((Date.parse(use.expiresAt) - Date.parse(use.at)) / 60_000));
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

const share = (used: number, allowed: number): string =>
  `${bytesText(used)} of ${bytesText(allowed)} (${Math.round((used / allowed) * 100)} %)`;

function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}
