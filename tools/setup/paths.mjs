import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout (or installed package) that this file belongs to. */
export const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
export const dist = join(root, 'dist');
/** A checkout has sources, which are built; a package brings what is built of them, and its folder may belong to root. */
export const isCheckout = existsSync(join(root, 'tsconfig.build.json'));

function cache() {
  const given = process.env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is to be ignored.
  const base = given?.startsWith('/') ? given : join(homedir(), '.cache');
  return join(base, 'glovebox');
}

/** Where the launcher looks for what the set-up found: as it says, so that the two cannot differ. */
export const found = isCheckout ? dist : (process.env['GLOVEBOX_FOUND'] ?? join(cache(), 'installed', root));
export const scratch = isCheckout ? join(root, '.build') : found;

/** What the launcher reads: its date says when sources were last found unchanged. */
export const readyFile = join(found, '.ready');

/** Built tools are kept here, by version, for every checkout of this user. */
export const toolCache = () => join(cache(), 'tools');
