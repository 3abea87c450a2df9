import { lstat, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GloveboxError } from '../../pure/contracts/index.ts';

/** A folder of the broker's own: made, or refused if others can look into it. */
export async function privateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const found = await lstat(path);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0) {
    throw refused(path, 'it is not a folder of ours alone');
  }
}

/** Undefined where there is none; refused if others can read it. */
export async function readPrivate(path: string): Promise<string | undefined> {
  try {
    const found = await lstat(path);
    if (!found.isFile() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0) {
      throw refused(path, 'it is not a file of ours alone');
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, and on the disk before it answers: a key that a crash cut short would lose every value. */
export async function writePrivate(path: string, text: string): Promise<void> {
  const next = `${path}.${process.pid}.next`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

const refused = (path: string, detail: string): GloveboxError =>
  new GloveboxError('GB_STATE_REFUSED', {
    path,
    detail,
    todo: `Look at ${path}; it holds what only you may read.`,
  });
