import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  chown,
  lchown,
  mkdir,
  open,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  unlink,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import type { Change } from '../../pure/contracts/index.ts';
import { listChanges, type Staged } from './list.ts';
import { Tree } from './tree.ts';

export interface Choice {
  /** Undefined: all. A folder stands for what is below it. */
  readonly paths?: readonly string[];
  /** What host tools execute unasked is applied only where it is named here (R48). */
  readonly sensitive: readonly string[];
}

export interface Applied {
  readonly applied: readonly string[];
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

/**
 * Brings staged changes out: folders first, then files, deletions last. Each file is written beside its place, synced and renamed
 * over it: a reader, or a crash, sees the old file or the new one. Set-id bits never come out.
 */
export async function applyChanges(staged: Staged, choice: Choice): Promise<Applied> {
  const { changes } = await listChanges(staged);
  const chosen = changes.filter(
    ({ path }) =>
      choice.paths === undefined ||
      choice.paths.some((wanted) => path === wanted || path.startsWith(`${wanted}/`)),
  );
  const applied: string[] = [];
  const skipped: { path: string; why: string }[] = [];
  const target = new Target(staged);
  const owner = await stat(staged.lower);
  const order = [
    ...chosen.filter(({ kind }) => kind !== 'deleted'),
    ...chosen.filter(({ kind }) => kind === 'deleted'),
  ];
  for (const change of order) {
    const why = refusal(change, choice);
    if (why !== null) {
      skipped.push({ path: change.path, why });
      continue;
    }
    try {
      await target.apply(change, staged.asRoot ? { uid: owner.uid, gid: owner.gid } : null);
      applied.push(change.path);
    } catch (error) {
      skipped.push({
        path: change.path,
        why: error instanceof Error && 'code' in error ? String(error.code) : 'it could not be written',
      });
    }
  }
  return { applied, skipped };
}

function refusal(change: Change, choice: Choice): string | null {
  if (change.conflict !== null) return change.conflict;
  if (change.sensitive !== null && !choice.sensitive.includes(change.path))
    return `not named: ${change.sensitive}`;
  return null;
}

type Owner = { readonly uid: number; readonly gid: number } | null;

class Target {
  readonly #upper: Tree;
  readonly #lower: Tree;

  constructor(staged: Staged) {
    this.#upper = new Tree(staged.upper);
    this.#lower = new Tree(staged.lower);
  }

  async apply(change: Change, owner: Owner): Promise<void> {
    const { path, kind } = change;
    const make = (place: string): Promise<void> => makeFolder(place, 0o755, owner);
    if (kind === 'deleted') {
      const there = await this.#lower.stat(path);
      if (there !== null)
        await this.#lower.at(path, (place) => (there.isDirectory() ? rmdir(place) : unlink(place)));
      return;
    }
    const from = await this.#upper.stat(path);
    if (from === null) throw new Error('it is gone');
    const mode = from.mode & 0o777;
    if (kind === 'mode') await this.#lower.at(path, (place) => chmodPinned(place, mode));
    else if (from.isDirectory()) await this.#lower.at(path, (place) => makeFolder(place, mode, owner), make);
    else if (from.isSymbolicLink()) {
      const link = await this.#upper.readLink(path);
      await this.#lower.at(
        path,
        (place) =>
          replaceBy(place, async (temporary) => {
            await symlink(link, temporary);
            if (owner !== null) await lchown(temporary, owner.uid, owner.gid);
          }),
        make,
      );
    } else if (from.isFile()) await this.#file(path, mode, owner, make);
    else throw new Error('it is no file');
  }

  async #file(
    path: string,
    mode: number,
    owner: Owner,
    make: (place: string) => Promise<void>,
  ): Promise<void> {
    const done = await this.#upper.withFile(path, async (source) => {
      await this.#lower.at(
        path,
        (place) =>
          replaceBy(place, async (temporary) => {
            const handle = await open(
              temporary,
              constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
              0o600,
            );
            try {
              await writeFile(handle, chunksOf(source));
              if (owner !== null) await handle.chown(owner.uid, owner.gid);
              await handle.chmod(mode);
              await handle.sync();
            } finally {
              await handle.close();
            }
          }),
        make,
      );
      return true;
    });
    if (done === null) throw new Error('it is no file');
  }
}

/** Makes the new thing under a name nobody knows, then renames it into place; what is there is replaced, never followed. */
async function replaceBy(place: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${place.slice(0, place.lastIndexOf('/'))}/.glovebox-${randomUUID()}`;
  try {
    await make(temporary);
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function makeFolder(place: string, mode: number, owner: Owner): Promise<void> {
  try {
    await mkdir(place, { mode });
    // mkdir heeds the umask, which is tight here: a folder of the person's is as open as it was staged.
    await chmodPinned(place, mode);
    if (owner !== null) await chown(place, owner.uid, owner.gid);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

/** chmod follows links; the descriptor of what was opened without following does not. */
async function chmodPinned(place: string, mode: number): Promise<void> {
  const handle = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

async function* chunksOf(source: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { buffer, bytesRead } = await source.read(Buffer.allocUnsafe(chunkSize), 0, chunkSize);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

const chunkSize = 1 << 20;
