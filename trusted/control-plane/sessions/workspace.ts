import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';

/**
 * The one project's folder that a session may work in, links resolved. Refused is what holds more than a project (`/`, the
 * home or what is above it, Glovebox's own state) and what the person may not write. `home` and `state` are resolved paths.
 */
export async function checkWorkspace(
  path: string,
  places: { readonly home: string; readonly state: string },
): Promise<string> {
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_WORKSPACE_REFUSED', { path, detail });
  if (!isAbsolute(path)) throw refuse('it is not an absolute path');
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') throw refuse('it does not exist');
    throw refuse(code === 'EACCES' ? 'you may not look into it' : 'it cannot be resolved');
  }
  if (!(await stat(real)).isDirectory()) throw refuse('it is not a folder');
  const home = await realpath(places.home).catch(() => places.home);
  const state = await realpath(places.state).catch(() => places.state);
  if (real === sep) throw refuse('an agent would work on the whole machine');
  if (contains(real, home)) throw refuse('it holds your home folder, with your keys and settings');
  if (contains(real, state) || contains(state, real))
    throw refuse("it holds, or lies in, Glovebox's own state");
  for (const system of ['/proc', '/sys', '/dev']) {
    if (contains(system, real)) throw refuse('it is not a folder of files but of the kernel');
  }
  try {
    await access(real, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    throw refuse('you may not read and write it');
  }
  return real;
}

/** Is `inner` the folder `outer`, or below it? Both resolved. */
export const contains = (outer: string, inner: string): boolean =>
  inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : `${outer}${sep}`);
