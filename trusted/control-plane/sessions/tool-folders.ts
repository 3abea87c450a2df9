import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative } from 'node:path';
import { isToolFolder } from '../../../pure/compile/index.ts';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { isCredentialFile } from '../../../pure/policy/index.ts';
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
    // What the floor would refuse later, in words that a person can do something with.
    const fits: boolean = isToolFolder(real);
    if (!fits)
      throw refused(
        folder,
        `it is, holds or lies in a folder of the system or one that the sandbox has of its own (${real}); move the tool below a home, /srv or /usr/local`,
      );
    found.push(real);
  }
  return found;
}

const refused = (folder: string, detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: `The tool folder ${folder}`, detail });

/**
 * Files of tool folders that hold credentials (.cargo/credentials.toml, .m2/settings.xml, …), down to the folders in them; what
 * tools install lies deeper. A link counts as what it leads to.
 */
export async function credentialsIn(folders: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(
    folders.map(async (folder) => {
      const top = await readdir(folder, { withFileTypes: true });
      const below = await Promise.all(
        top
          .filter((entry) => entry.isDirectory())
          .map(async ({ name }) =>
            (await readdir(join(folder, name), { withFileTypes: true })).map((entry) => ({
              path: `${name}/${entry.name}`,
              entry,
            })),
          ),
      );
      return [...top.map((entry) => ({ path: entry.name, entry })), ...below.flat()]
        .filter(
          ({ path, entry }) => !entry.isDirectory() && isCredentialFile(`${basename(folder)}/${path}`, []),
        )
        .map(({ path }) => join(folder, path));
    }),
  );
  const real = await Promise.all(found.flat().map((path) => realpath(path).catch(() => null)));
  return [
    ...new Set(
      real.filter((path) => path !== null && folders.some((folder) => path.startsWith(`${folder}/`))),
    ),
  ] as string[];
}
