import { readdir, readFile } from 'node:fs/promises';
import { absent, onlyCodes } from './host-view.ts';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot: with the pid it names one process for ever, a pid alone is used again. */
  readonly startTime: string;
}

export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(gone);
  // The name in parentheses may hold anything.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const startTime = fields?.[19];
  if (startTime === undefined || fields?.[0] === 'Z') return undefined;
  return { pid, startTime };
}

/** Every process with an argument below one of these run folders: runsc names its state folder to all that it starts. */
export async function processesOf(runFolders: readonly string[]): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const args = ((await readFile(`/proc/${name}/cmdline`, 'utf8').catch(gone)) ?? '').split('\0');
    if (!isRunsc(args) || !runFolders.some((folder) => args.some((arg) => namesFolder(arg, folder))))
      continue;
    const identity = await identify(Number(name));
    if (identity !== undefined) found.push(identity);
  }
  return found;
}

/** A person's editor may name the folder too; only our chain of execs and runsc's own processes are meant. */
const isRunsc = (args: readonly string[]): boolean =>
  args.includes('--pass-fd=3:3') || args.includes('boot') || args.includes('gofer');
const namesFolder = (arg: string, folder: string): boolean =>
  arg === folder ||
  arg === `--root=${folder}/runsc` ||
  arg === `--bundle=${folder}` ||
  arg.startsWith(`${folder}/`);

/** Kills only the process that was identified: a pid may have been given to another meanwhile. */
export async function killIdentified(identity: ProcessIdentity): Promise<boolean> {
  if (!(await isAlive(identity))) return false;
  try {
    process.kill(identity.pid, 'SIGKILL');
    return true;
  } catch (error) {
    onlyCodes(error, 'ESRCH');
    return false;
  }
}

export const isAlive = async (identity: ProcessIdentity): Promise<boolean> =>
  (await identify(identity.pid))?.startTime === identity.startTime;

/** Kills what is left and waits until it is gone, at most until the deadline. Returns what still lives. */
export async function endProcesses(
  find: () => Promise<readonly ProcessIdentity[]>,
  waitMs: number,
): Promise<readonly ProcessIdentity[]> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const left = await find();
    if (left.length === 0 || performance.now() > deadline) return left;
    for (const identity of left) await killIdentified(identity);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const gone = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return undefined;
  if (error instanceof Error && 'code' in error && error.code === 'EACCES') return undefined;
  return absent(error);
};
