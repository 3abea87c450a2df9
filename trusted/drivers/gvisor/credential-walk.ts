import { chmod, chown, link, lstat, mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { limits } from '../../../pure/contracts/index.ts';
import { credentialFiles, isCredentialFile } from '../../../pure/policy/index.ts';
import { absent, exists } from './host-view.ts';
import { runCommand } from './run-command.ts';

const installed = new Set(['node_modules', '.git']);

/** Credential files of a workspace, as relative paths. Most projects are small, and walked here before a process is started. */
export async function findCredentialFiles(folder: string, show: readonly string[]): Promise<string[]> {
  const all = await filesOfSmall(folder).catch(() => undefined);
  if (all === undefined) return findInLarge(folder, show);
  return all.filter((path) => isCredentialFile(path, show));
}

/** All that is no folder, on the same file system; undefined where there are too many folders. What cannot be read is for `find` to refuse. */
async function filesOfSmall(folder: string): Promise<string[] | undefined> {
  const { dev } = await lstat(folder);
  const files: string[] = [];
  let walked = 0;
  for (let level = ['']; level.length > 0;) {
    walked += level.length;
    if (walked > limits.credentialWalkFolders.value) return undefined;
    const listed = await Promise.all(
      level.map(async (path) => ({
        path,
        entries: await readdir(join(folder, path), { withFileTypes: true }),
      })),
    );
    const below: string[] = [];
    for (const { path, entries } of listed)
      for (const entry of entries) {
        const full = path === '' ? entry.name : `${path}/${entry.name}`;
        if (!entry.isDirectory()) files.push(full);
        else if (!installed.has(entry.name)) below.push(full);
      }
    const found = await Promise.all(
      below.map(async (path) => ({ path, stat: await lstat(join(folder, path)) })),
    );
    level = found.filter(({ stat: own }) => own.dev === dev).map(({ path }) => path);
  }
  return files;
}

/** The list as one expression over a path: fifty tests of each file's name take five times as long as the walk itself. */
const onTheList = `.*/(${[...credentialFiles.names, ...credentialFiles.paths]
  .map((glob) => glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*'))
  .join('|')})`;

/**
 * `find` walks faster than Node and outside this process; a walk
 * that does not end in time refuses the start, since what it did not see would be shown.
 * Folders of installed packages and of git's objects are left out: they come from elsewhere.
 */
async function findInLarge(folder: string, show: readonly string[]): Promise<string[]> {
  const left = [...installed].flatMap((name, index) => [...(index === 0 ? [] : ['-o']), '-name', name]);
  const output = await runCommand(
    'find',
    [
      ...['.', '-xdev', '-regextype', 'posix-extended'],
      ...['(', '-type', 'd', '(', ...left, ')', '-prune', ')', '-o'],
      ...['(', '!', '-type', 'd', '-regex', onTheList, '-printf', '%P\\0', ')'],
    ],
    { cwd: folder, timeoutMs: limits.sandboxCredentialWalk.value },
  );
  return output.split('\0').filter((path) => path !== '' && isCredentialFile(path, show));
}

/**
 * A layer between the project and the changes in which each hidden file is a whiteout (character device 0:0, which a
 * user may make too): the agent sees no such file, and may make one of its own.
 */
export async function writeHidingLayer(
  layer: string,
  folder: string,
  hidden: readonly string[],
): Promise<void> {
  const asRoot = process.geteuid?.() === 0;
  const folders = [...new Set(hidden.flatMap(foldersAbove))].sort();
  for (const path of folders) await mkdir(join(layer, path)).catch(exists);
  const [first, ...others] = hidden;
  if (first === undefined) return;
  await runCommand('mknod', ['--', join(layer, first), 'c', '0', '0']);
  for (const path of others) await link(join(layer, first), join(layer, path));
  // A merged folder looks like its topmost layer; innermost first, so that times survive.
  for (const path of ['', ...folders].reverse()) {
    const original = await stat(join(folder, path));
    if (asRoot) await chown(join(layer, path), original.uid, original.gid);
    await chmod(join(layer, path), original.mode & 0o7777);
    await utimes(join(layer, path), original.atime, original.mtime);
  }
}

/** For direct mode, where a mask is a mount, which needs to know what it covers. A link shows what has a name elsewhere. */
export async function masksOf(
  folder: string,
  hidden: readonly string[],
): Promise<{ path: string; folder: boolean }[]> {
  const found = await Promise.all(
    hidden.map(async (path) => ({ path, kind: await lstat(join(folder, path)).catch(absent) })),
  );
  return found.flatMap(({ path, kind }) =>
    kind === undefined || kind.isSymbolicLink() ? [] : [{ path, folder: kind.isDirectory() }],
  );
}

const foldersAbove = (path: string): string[] => {
  const above: string[] = [];
  for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) above.unshift(folder);
  return above;
};
