import { existsSync, lstatSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GloveboxError } from '../../pure/contracts/index.ts';

export interface Places {
  readonly state: string;
  readonly runtime: string;
  readonly config: string;
  readonly data: string;
  readonly cache: string;
  readonly socket: string;
  readonly daemonLog: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The XDG folders. A value that is not absolute is ignored, as the specification says. */
export function findPlaces(env: Environment): Places {
  const folder = (name: string, otherwise: string): string => {
    const value = env[name];
    return join(value !== undefined && isAbsolute(value) ? value : otherwise, 'glovebox');
  };
  const home = env['HOME'] !== undefined && isAbsolute(env['HOME']) ? env['HOME'] : homedir();
  const state = folder('XDG_STATE_HOME', join(home, '.local/state'));
  const runtime = isOwnFolder(env['XDG_RUNTIME_DIR']) ? folder('XDG_RUNTIME_DIR', '') : join(state, 'run');
  return {
    state,
    runtime,
    config: folder('XDG_CONFIG_HOME', join(home, '.config')),
    data: folder('XDG_DATA_HOME', join(home, '.local/share')),
    cache: folder('XDG_CACHE_HOME', join(home, '.cache')),
    socket: join(runtime, 'operator.sock'),
    daemonLog: join(state, 'control-plane.log'),
  };
}

/** `sudo` and `su` may leave another user's runtime folder in the environment. */
function isOwnFolder(path: string | undefined): boolean {
  if (path === undefined || !isAbsolute(path)) return false;
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && stat.isDirectory() && stat.uid === process.getuid?.();
}

/**
 * Who answers on the socket is taken for the control plane, and is given commands, workspaces and sealed secrets: nobody else may
 * be able to put a socket there.
 */
export function requirePrivate(folder: string): void {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) return;
  const detail = !stat.isDirectory()
    ? 'it is not a folder'
    : stat.uid !== process.getuid?.()
      ? `it belongs to the user ${stat.uid}`
      : (stat.mode & 0o077) !== 0
        ? `others may enter it (mode ${(stat.mode & 0o777).toString(8)}); \`chmod 700\` it`
        : undefined;
  if (detail !== undefined) throw new GloveboxError('GB_INPUT_INVALID', { what: folder, detail });
}

/** The folder of the bundles: this program is one of them, or a piece in a folder below. */
export function distFolder(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  return existsSync(join(here, 'control-plane.js')) ? here : join(here, '..');
}

/** What the set-up found: beside the bundles of a checkout; for an installed package where the launcher says, with the user's cache. */
export function toolsFile(env: Environment): string {
  const found = env['GLOVEBOX_FOUND'];
  return join(found !== undefined && isAbsolute(found) ? found : distFolder(), 'tools.json');
}

export const presetsFolder = (): string => join(distFolder(), '..', 'presets');

export function productVersion(): string {
  const text = readFileSync(join(distFolder(), '..', 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version?: unknown };
  return typeof version === 'string' ? version : 'unknown';
}
