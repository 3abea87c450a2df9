import { rmdir, unlink } from 'node:fs/promises';
import { isChosen, listChanges, type ListedChange, type Staged } from './list.ts';
import { Tree } from './tree.ts';

export interface Discarded {
  readonly discarded: readonly string[];
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

/** Throws single staged changes away: the layer forgets them, the host's folder is not touched. */
export async function discardChanges(staged: Staged, paths: readonly string[]): Promise<Discarded> {
  const { changes } = await listChanges(staged);
  const upper = new Tree(staged.upper);
  const discarded: string[] = [];
  const skipped: { path: string; why: string }[] = [];
  // What lies in a folder before the folder.
  for (const change of changes.filter(({ path }) => isChosen(path, paths)).reverse()) {
    const why = await discardOne(upper, change);
    if (why === null) discarded.push(change.path);
    else skipped.push({ path: change.path, why });
  }
  return { discarded: discarded.reverse(), skipped: skipped.reverse() };
}

async function discardOne(upper: Tree, { path, kind }: ListedChange): Promise<string | null> {
  const there = await upper.stat(path);
  if (there === null) {
    // Below a whiteout, or in a folder that was made anew: it is the folder that says so.
    const above = path.split('/').slice(0, -1).join('/');
    return kind === 'deleted' && (await upper.stat(above)) === null
      ? null
      : `its folder was replaced as a whole: discard ${above === '' ? 'all changes' : above}`;
  }
  try {
    await upper.at(path, (place) => (there.isDirectory() ? rmdir(place) : unlink(place)));
    return null;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    return code === 'ENOTEMPTY' ? 'what is in it was not discarded' : code;
  }
}
