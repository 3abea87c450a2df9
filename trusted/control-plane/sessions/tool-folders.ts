import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { contains } from './workspace.ts';

/** Folders of a home that hold keys or logins, or lead to them: never shown to a sandbox, nor anything that holds them. */
export const credentialFolders = [
  '.ssh',
  '.gnupg',
  '.aws',
  '.azure',
  '.kube',
  '.docker',
  '.config',
  '.mozilla',
  '.password-store',
  '.local/share/keyrings',
  '.local/state',
  '.local/share/glovebox',
] as const;

/** The tool folders of a policy that exist, resolved. What is not installed is left out; what holds credentials is refused. */
export async function resolveToolFolders(
  wanted: readonly string[],
  places: { readonly home: string; readonly state: string },
): Promise<readonly string[]> {
  const home = await realpath(places.home).catch(() => places.home);
  const found: string[] = [];
  for (const folder of wanted) {
    const path = folder === '~' || folder.startsWith('~/') ? join(home, folder.slice(1)) : folder;
    if (!isAbsolute(path)) throw refused(folder, 'it is neither absolute nor in ~/');
    const real = await realpath(path).catch(() => null);
    if (real === null || !(await stat(real)).isDirectory()) continue;
    if (contains(real, home)) throw refused(folder, 'it holds the whole home folder');
    if (contains(real, places.state) || contains(places.state, real))
      throw refused(folder, "it is Glovebox's own state");
    const held = credentialFolders.find((one) => {
      const place = join(home, one);
      return contains(place, real) || contains(real, place);
    });
    if (held !== undefined)
      throw refused(folder, `it holds, or lies in, ~/${relative(home, join(home, held))}`);
    if (['/proc', '/sys', '/dev', '/run', '/var/run', '/etc', '/root'].some((system) => real === system)) {
      throw refused(folder, 'it is a folder of the system');
    }
    found.push(real);
  }
  return found;
}

const refused = (folder: string, detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: `The tool folder ${folder}`, detail });
