import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { GloveboxError, type SharedFolder } from '../../../pure/contracts/index.ts';
import { isHostFolder } from '../../../pure/compile/index.ts';
import { parseProviders } from '../../../pure/policy/index.ts';
import { credentialFolders } from '../sessions/tool-folders.ts';
import { contains } from '../sessions/workspace.ts';

export interface FolderMount {
  readonly name: string;
  /** Absolute, resolved. */
  readonly source: string;
  readonly writable: boolean;
}

export interface SharedPlaces {
  readonly config: string;
  readonly state: string;
  readonly runtime: string;
  /** `$XDG_DATA_HOME/glovebox`. */
  readonly data: string;
  readonly home: string;
}

/**
 * What the person shares with agents through the files tools: the folders of `<config>/providers.yaml`, or, without that file,
 * one folder `shared` of Glovebox's own. Refused is what holds more than documents, before anything starts.
 */
export async function sharedFolders(places: SharedPlaces): Promise<readonly FolderMount[]> {
  const file = join(places.config, 'providers.yaml');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) {
    const source = join(places.data, 'shared');
    await mkdir(source, { recursive: true, mode: 0o700 });
    return [{ name: 'shared', source: await realpath(source), writable: true }];
  }
  const guarded = await guardedPlaces(places);
  const { folders } = parseProviders(text, file).files;
  const mounts = await Promise.all(
    folders.map(async (folder) => await mountOf(folder, places.home, guarded)),
  );
  refuseOverlaps(mounts);
  await refuseTwoOwners(mounts);
  return mounts;
}

/** But for Glovebox's own data folder: it holds what is shared by default, and nothing else. */
const loginFolders = credentialFolders.filter((folder) => folder !== '.local/share/glovebox');

type Guarded = readonly { readonly path: string; readonly what: string; readonly mayHold: boolean }[];

async function guardedPlaces(places: SharedPlaces): Promise<Guarded> {
  const home = await resolved(places.home);
  const own = await Promise.all(
    (['state', 'config', 'runtime'] as const).map(async (kind) => ({
      path: await resolved(places[kind]),
      what: `Glovebox's own ${kind} folder`,
      mayHold: false,
    })),
  );
  const logins = await Promise.all(
    loginFolders.map(async (folder) => ({
      path: await resolved(join(home, folder)),
      what: `~/${folder}, where logins and settings are kept`,
      mayHold: false,
    })),
  );
  // A home holds what is shared; it is not shared itself, nor is what it lies in.
  return [{ path: home, what: 'the home folder', mayHold: true }, ...own, ...logins];
}

async function mountOf(folder: SharedFolder, home: string, guarded: Guarded): Promise<FolderMount> {
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', {
      what: `The shared folder ${folder.name} (${folder.path})`,
      detail,
    });
  const path = folder.path.startsWith('~/') ? join(home, folder.path.slice(2)) : folder.path;
  if (!isAbsolute(path)) throw refuse('its path is neither absolute nor in ~/');
  const source = await realpath(path).catch(() => null);
  if (source === null) throw refuse('it does not exist');
  if (!(await stat(source)).isDirectory()) throw refuse('it is not a folder');
  for (const place of guarded) {
    if (source === place.path) throw refuse(`it is ${place.what}`);
    if (contains(source, place.path)) throw refuse(`it holds ${place.what}`);
    if (!place.mayHold && contains(place.path, source)) throw refuse(`it lies in ${place.what}`);
  }
  // The closed list of the sandbox's specification, which refuses it in any case; here with a person to tell.
  if (!isHostFolder(source)) throw refuse('it is a folder of the system');
  return { name: folder.name, source, writable: folder.write };
}

/** Of two names for the same files one would be read-only and the other not. */
function refuseOverlaps(mounts: readonly FolderMount[]): void {
  for (const outer of mounts) {
    const inner = mounts.find((other) => other !== outer && contains(outer.source, other.source));
    if (inner === undefined) continue;
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The shared folder ${inner.name}`,
      detail: `it lies in the shared folder ${outer.name} (${relative(outer.source, inner.source) || 'the same folder'})`,
    });
  }
}

/** As root the provider works as the owner of what it shares, so that new files have the right owner: there can be one only. */
async function refuseTwoOwners(mounts: readonly FolderMount[]): Promise<void> {
  const owners = await Promise.all(mounts.map(async ({ source }) => await stat(source)));
  const other = mounts.find(
    (_, index) => owners[index]?.uid !== owners[0]?.uid || owners[index]?.gid !== owners[0]?.gid,
  );
  if (other === undefined || process.geteuid?.() !== 0) return;
  throw new GloveboxError('GB_INPUT_INVALID', {
    what: `The shared folder ${other.name}`,
    detail: `it belongs to another user or group than ${mounts[0]?.name ?? 'the first'}, and one provider works as one user`,
  });
}

const resolved = async (path: string): Promise<string> => await realpath(path).catch(() => path);
