import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout (or installed package) that this file belongs to. */
export const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
export const dist = join(root, 'dist');
export const scratch = join(root, '.build');

/** What the launcher reads: its date says when sources were last found unchanged. */
export const readyFile = join(dist, '.ready');

/** Built tools are kept here, by version, for every checkout of this user. */
export function toolCache() {
  const given = process.env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is to be ignored.
  const base = given?.startsWith('/') ? given : join(homedir(), '.cache');
  return join(base, 'glovebox', 'tools');
}
