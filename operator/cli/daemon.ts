import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { createOperatorClient, OperatorError, readErrorBody } from '../client/index.ts';
import { distFolder, toolsFile, type Environment, type Places } from './places.ts';

/** What the control plane needs of the person's environment. Keys that lie there are none of its business. */
const passedOn = [
  ...['HOME', 'PATH', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'],
  ...['XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME'],
  ...['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'],
];

export function daemonEnvironment(env: Environment): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of passedOn) {
    const value = env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/** True once the control plane answers. */
export async function isUp(places: Places): Promise<boolean> {
  try {
    await createOperatorClient(places.socket).call('health', {});
    return true;
  } catch (error) {
    if (error instanceof GloveboxError && error.code === 'GB_DAEMON_UNREACHABLE') return false;
    throw error;
  }
}

/** Starts the control plane and waits until its socket answers; its own last words are the error if it dies first. */
export async function startDaemon(places: Places, env: Environment): Promise<void> {
  const program = join(distFolder(), 'control-plane.js');
  if (!existsSync(program))
    throw new GloveboxError('GB_DAEMON_UNREACHABLE', {
      detail: `${program} is missing: this build is not whole`,
    });
  const log = openLog(places);
  const began = fstatSync(log).size;
  const progress = setTimeout(() => {
    process.stderr.write('glovebox: starting the control plane…\n');
  }, 1000);
  try {
    const child = spawn(process.execPath, [program, ...daemonArguments(places)], {
      cwd: '/',
      detached: true,
      env: daemonEnvironment(env),
      stdio: ['ignore', log, log],
    });
    child.unref();
    await untilReady(places, child, began);
  } finally {
    clearTimeout(progress);
    closeSync(log);
  }
}

const daemonArguments = (places: Places): string[] => [
  ...['--state', places.state, '--runtime', places.runtime, '--config', places.config],
  ...['--data', places.data, '--cache', places.cache],
  ...['--tools', toolsFile(process.env)],
];

function openLog(places: Places): number {
  for (const folder of [places.state, places.runtime]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const size = statSync(places.daemonLog, { throwIfNoEntry: false })?.size ?? 0;
  if (size > limits.daemonLog.value) renameSync(places.daemonLog, `${places.daemonLog}.1`);
  return openSync(places.daemonLog, 'a', 0o600);
}

async function untilReady(places: Places, child: ChildProcess, began: number): Promise<void> {
  let ended: string | undefined;
  child.on('exit', (code, signal) => (ended = signal ?? `status ${code ?? 'unknown'}`));
  child.on('error', (error) => (ended = error.message));
  const deadline = performance.now() + limits.daemonStart.value;
  let rivalDeadline: number | undefined;
  for (let pause = 10; ; pause = Math.min(pause * 1.3, 100)) {
    // Read before the question: a control plane that another command started meanwhile is as good.
    const over = ended;
    if (await isUp(places)) return;
    if (over !== undefined) {
      const error = lastWords(places, began, over);
      const rival = error instanceof OperatorError && error.body.error.code === 'GB_ALREADY_RUNNING';
      // Two commands started one each: the state has one owner, and the other command's will do as well.
      rivalDeadline ??= performance.now() + limits.daemonRival.value;
      if (!rival || listensElsewhere(places) || performance.now() > rivalDeadline) throw error;
    }
    if (performance.now() > deadline)
      throw new GloveboxError('GB_DAEMON_UNREACHABLE', {
        detail: `it did not answer within ${limits.daemonStart.value / 1000} s; see ${places.daemonLog}`,
      });
    await wait(pause);
  }
}

/** The state's owner serves another runtime folder's socket: it will never answer on ours, however long one waits. */
function listensElsewhere(places: Places): boolean {
  try {
    const [, socket = ''] = readFileSync(join(places.state, 'control-plane.pid'), 'utf8').split('\n');
    return socket !== '' && socket !== places.socket;
  } catch {
    // Not written yet: it has only just taken the state.
    return false;
  }
}

/** The catalogued error among what the daemon wrote since it was started, else its last line. */
function lastWords(places: Places, began: number, ended: string): Error {
  const lines = readFrom(places.daemonLog, began)
    .split('\n')
    .filter((line) => line.trim() !== '');
  for (const line of lines.reverse()) {
    const body = readErrorBody(line);
    if (body !== undefined) return new OperatorError(body, 503);
  }
  const last = lines[0] === undefined ? '' : `: ${lines[0].slice(0, 300)}`;
  return new GloveboxError('GB_DAEMON_UNREACHABLE', {
    detail: `it ended with ${ended} as it started${last} (${places.daemonLog})`,
  });
}

function readFrom(path: string, position: number): string {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(65536);
    const start = Math.max(position, fstatSync(file).size - buffer.length);
    return buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, start));
  } finally {
    closeSync(file);
  }
}
