import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { contains } from './workspace.ts';

/** What the sandbox shows of the host's file system, read-only. */
export const hostView = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/opt'] as const;
export const sandboxWorkspace = '/workspace';
const fallbackPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

export interface CommandPlaces {
  /** The workspace on the host, resolved; in the sandbox it is /workspace. */
  readonly workspace: string;
  /** Tool folders that policy or preset add, resolved; seen at the same path. */
  readonly toolFolders: readonly string[];
  /** PATH of the person's shell. */
  readonly path: string;
}

/**
 * The program as the sandbox will find it, and the PATH that it gets. Looked up before anything starts: a command that does
 * not exist, or that the sandbox would not see, is one clear error.
 */
export async function resolveCommand(command: string, places: CommandPlaces): Promise<string> {
  const refuse = (detail: string, todo: string): GloveboxError =>
    new GloveboxError('GB_COMMAND_NOT_FOUND', { command: command === '' ? '""' : command, detail, todo });
  if (command === '') throw refuse('the command is empty', 'Write the command after --, or name a preset.');
  if (command.includes('\0')) throw refuse('its name holds a NUL', 'Correct it.');
  if (command.includes(sep)) {
    const found = isAbsolute(command) ? command : resolve(places.workspace, command);
    if (!(await isProgram(found))) throw await notRunnable(found, command, refuse);
    const seen = await asSeen(found, places);
    if (seen === null) throw outside(found, refuse);
    return seen;
  }
  let hidden: string | null = null;
  for (const folder of pathFolders(places)) {
    const found = join(folder, command);
    if (!(await isProgram(found))) continue;
    const seen = await asSeen(found, places);
    if (seen !== null) return seen;
    hidden ??= found;
  }
  if (hidden !== null) throw outside(hidden, refuse);
  throw refuse('no folder of your PATH holds it', 'Install it, or check its spelling.');
}

/** The part of the person's PATH that exists in the sandbox. */
export async function sandboxPath(places: CommandPlaces): Promise<string> {
  const kept: string[] = [];
  for (const folder of pathFolders(places)) {
    const real = await realpath(folder).catch(() => null);
    if (real !== null && inView(folder, places) && inView(real, places) && !kept.includes(folder))
      kept.push(folder);
  }
  for (const folder of fallbackPath) if (!kept.includes(folder)) kept.push(folder);
  return kept.join(':');
}

/** An empty or relative part of PATH means the current folder: an agent could put a program there, so it is left out. */
const pathFolders = (places: CommandPlaces): string[] =>
  places.path
    .split(':')
    .filter((folder) => isAbsolute(folder))
    .map((folder) => resolve(folder));

const inView = (path: string, places: CommandPlaces): boolean =>
  hostView.some((folder) => contains(folder, path)) ||
  places.toolFolders.some((folder) => contains(folder, path));

/** The path at which the sandbox has this file; null where it has none, or where a link of it leads out of the view. */
async function asSeen(path: string, places: CommandPlaces): Promise<string | null> {
  const real = await realpath(path);
  if (contains(places.workspace, path) || contains(places.workspace, real)) {
    const inside = contains(places.workspace, path) ? path : real;
    return contains(places.workspace, real) || inView(real, places)
      ? join(sandboxWorkspace, inside.slice(places.workspace.length))
      : null;
  }
  return inView(path, places) && inView(real, places) ? path : inView(real, places) ? real : null;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Not there, or not for this person: PATH goes on to the next folder, as a shell does.
    return false;
  }
}

/** As a shell says it: 127 where there is nothing, 126 where there is something that does not run. */
async function notRunnable(
  path: string,
  command: string,
  absent: (detail: string, todo: string) => GloveboxError,
): Promise<GloveboxError> {
  const found = await stat(path).catch(() => null);
  if (found === null) return absent(`there is no ${path}`, 'Check its spelling.');
  const [detail, todo] = found.isFile()
    ? [
        `${path} is not marked as a program that you may run`,
        `Run: chmod +x ${path}; or name its interpreter first.`,
      ]
    : [`${path} is not a file`, 'Name the program itself.'];
  return new GloveboxError('GB_COMMAND_NOT_EXECUTABLE', { command, detail, todo });
}

const outside = (path: string, refuse: (detail: string, todo: string) => GloveboxError): GloveboxError =>
  refuse(
    `${path} lies outside of what a sandbox sees (${hostView.slice(0, 4).join(', ')}, /opt and your workspace)`,
    'Add its folder to toolFolders in the policy, or install it under /usr/local or /opt.',
  );
