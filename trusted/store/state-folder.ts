import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  encodeId,
  GloveboxError,
  isId,
  storeSetting,
  storeSettingFile,
  type StoreSetting,
} from '../../pure/contracts/index.ts';

/** The layout of the state folder. It counts up when an older Glovebox could not understand what a newer one wrote. */
export const stateVersion = 1;

export interface StateFolder {
  readonly root: string;
  readonly database: string;
  readonly keys: string;
  readonly nats: string;
  readonly secrets: string;
  readonly sessions: string;
  readonly log: string;
  /** Whose the store is; made once, at random. */
  readonly installation: string;
  /** Undefined: the SQLite file. */
  readonly storeSetting: StoreSetting | undefined;
}

/**
 * Makes the folder or checks the one that is there: ours, closed to all others, no link in its place, of a version that we
 * know. GB_STATE_REFUSED otherwise, and nothing is changed: loose permissions are not repaired in silence, since what
 * lies in the folder may have been read or written by others.
 */
export async function openStateFolder(root: string): Promise<StateFolder> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  await refuseLoose(root);
  const versionFile = join(root, 'VERSION');
  const written = await readIfThere(versionFile);
  if (written === undefined) {
    await writeFile(versionFile, `${stateVersion}\n`, { mode: 0o600, flag: 'wx' });
  } else if (!/^[0-9]{1,6}\n?$/.test(written) || Number(written) !== stateVersion) {
    throw refusal(
      versionFile,
      `it is of version ${JSON.stringify(written.trim().slice(0, 20))}, and this Glovebox knows version ${stateVersion}`,
      'Use the version of Glovebox that wrote it, or move the folder away.',
    );
  }
  const settingFile = join(root, storeSettingFile);
  const installationFile = join(root, 'INSTALLATION');
  for (const file of [settingFile, installationFile]) await refuseLooseFile(file);
  const folder: StateFolder = {
    root,
    database: join(root, 'control-plane.db'),
    keys: join(root, 'keys'),
    nats: join(root, 'nats'),
    secrets: join(root, 'secrets'),
    sessions: join(root, 'sessions'),
    log: join(root, 'control-plane.log'),
    installation: await installationIn(installationFile),
    storeSetting: await settingIn(settingFile),
  };
  for (const path of [folder.keys, folder.nats, folder.secrets, folder.sessions]) {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await refuseLoose(path);
  }
  for (const path of [folder.database, folder.log]) await refuseLooseFile(path);
  return folder;
}

export async function refuseLoose(path: string): Promise<void> {
  const found = await lstat(path);
  if (!found.isDirectory()) throw refusal(path, 'it is not a folder of its own', `Look at ${path}.`);
  refuseOthers(path, found.uid, found.mode, 'chmod 700');
}

async function refuseLooseFile(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isFile()) throw refusal(path, 'it is not a file of its own', `Look at ${path}.`);
  refuseOthers(path, found.uid, found.mode, 'chmod 600');
}

function refuseOthers(path: string, uid: number, mode: number, repair: string): void {
  const self = process.getuid?.();
  if (uid !== self) {
    throw refusal(
      path,
      `it belongs to uid ${uid}, and Glovebox runs as ${self ?? 'another'}`,
      `Look at ${path}.`,
    );
  }
  if ((mode & 0o077) !== 0) {
    throw refusal(
      path,
      `its mode ${(mode & 0o777).toString(8)} lets others in`,
      `Make sure that nobody else changed it, then run: ${repair} ${path}`,
    );
  }
}

async function installationIn(file: string): Promise<string> {
  const there = await readIfThere(file);
  const id = there?.trim() ?? encodeId(randomBytes(16));
  if (!isId(id)) throw refusal(file, 'it holds no id', 'Put back the file that was there.');
  if (there === undefined) await writeFile(file, `${id}\n`, { mode: 0o600, flag: 'wx' });
  return id;
}

async function settingIn(file: string): Promise<StoreSetting | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    return storeSetting.parse(JSON.parse(text));
  } catch {
    // No fallback to an empty SQLite file: it would know nothing of what was spent and revoked.
    throw refusal(file, 'it does not say where the store is', 'Put back what `glovebox up --store` wrote.');
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

const refusal = (path: string, detail: string, todo: string): GloveboxError =>
  new GloveboxError('GB_STATE_REFUSED', { path, detail, todo });
