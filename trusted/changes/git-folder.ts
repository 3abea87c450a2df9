import { hostExecuted } from '../../pure/policy/index.ts';
import type { Tree } from './tree.ts';

/**
 * git takes every folder that holds `HEAD` and its data for a repository, whatever its name, and obeys the configuration and the
 * hooks in it as soon as somebody (or a prompt) runs git there (the "embedded bare repository"). So what lies in one, as it is on
 * the host, as it was staged, or as both would make it together, is judged as if it lay in `.git`.
 */
export async function isRepository(path: string, trees: readonly Tree[]): Promise<boolean> {
  const has = async (name: string): Promise<boolean> => {
    const below = path === '' ? name : `${path}/${name}`;
    for (const tree of trees) if ((await tree.stat(below)) !== null) return true;
    return false;
  };
  if (!(await has('HEAD'))) return false;
  return (await has('commondir')) || ((await has('objects')) && (await has('refs')));
}

/** Why a path inside of the repository at `repository` is one that git runs or obeys; null: it is data. */
export function obeyedInRepository(path: string, added: boolean, repository: string): string | null {
  const inside = repository === '' ? path : path.slice(repository.length + 1);
  // What completes it counts too: the rest may have been applied before, when it was no repository yet.
  if (added && makesOne.has(inside)) return 'git takes its folder for a repository, and obeys what is in it';
  return hostExecuted(`.git/${inside}`);
}

const makesOne = new Set(['HEAD', 'commondir', 'objects', 'refs']);
