import { chmod, chown, link, lstat, mkdir, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { limits } from '../../../pure/contracts/index.ts';
import { credentialFiles, isCredentialFile } from '../../../pure/policy/index.ts';
import { absent, exists } from './host-view.ts';
import { runCommand } from './run-command.ts';

/**
 * Credential files of a workspace, as relative paths. `find` walks faster than Node and outside this process; a walk
 * that does not end in time refuses the start, since what it did not see would be shown.
 * Folders of installed packages and of git's objects are left out: they come from elsewhere.
 */
export async function findCredentialFiles(folder: string, show: readonly string[]): Promise<string[]> {
  const anyOf = (test: string, patterns: readonly string[]): string[] =>
    patterns.flatMap((pattern, index) => [...(index === 0 ? [] : ['-o']), test, pattern]);
  const output = await runCommand(
    'find',
    [
      ...[
        '.',
        '-xdev',
        '(',
        '-type',
        'd',
        '(',
        ...anyOf('-name', ['node_modules', '.git']),
        ')',
        '-prune',
        ')',
        '-o',
      ],
      ...['(', '!', '-type', 'd', '(', ...anyOf('-name', credentialFiles.names)],
      ...[
        '-o',
        ...anyOf(
          '-path',
          credentialFiles.paths.map((path) => `*/${path}`),
        ),
        ')',
        ')',
        '-printf',
        '%P\\0',
      ],
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
