import { randomUUID } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import {
  chown,
  lchown,
  lstat,
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
import { withHunks, type HunkChoice } from './hunks.ts';
import { identityOf } from './identity.ts';
import { isChosen, listChanges, type ListedChange as Change, type Staged } from './list.ts';
import { Tree } from './tree.ts';

export interface Choice {
  /** Undefined: all. A folder stands for what is below it. */
  readonly paths?: readonly string[];
  /** What host tools execute unasked is applied only where it is named here (R48). */
  readonly sensitive: readonly string[];
  /** Files of which only some hunks are wanted, whatever `paths` says. */
  readonly hunks?: readonly HunkChoice[];
}

export interface Applied {
  readonly applied: readonly string[];
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
  /** Files that were applied in part, and what they are now: for `Staged.partly` of the next time. */
  readonly partly: Readonly<Record<string, string>>;
}

/**
 * Brings staged changes out: folders first, then files, deletions last. Each file is written beside its place, synced and renamed
 * over it: a reader, or a crash, sees the old file or the new one. Set-id bits never come out.
 */
export async function applyChanges(staged: Staged, choice: Choice): Promise<Applied> {
  const { changes } = await listChanges(staged);
  const hunks = new Map((choice.hunks ?? []).map((one) => [one.path, one]));
  const applied: string[] = [];
  const skipped: { path: string; why: string }[] = [];
  const partly: Record<string, string> = {};
  const owner = await stat(staged.lower);
  const target = new Target(staged, staged.asRoot ? { uid: owner.uid, gid: owner.gid } : null);
  const chosen = changes.filter(({ path }) => hunks.has(path) || isChosen(path, choice.paths));
  for (const change of inOrder(chosen)) {
    const { path } = change;
    const some = hunks.get(path);
    try {
      const why = refusal(change, choice);
      if (why !== null) throw new NotApplied(why);
      const part = some === undefined ? undefined : await withHunks(staged, change, some);
      if (typeof part === 'string') throw new NotApplied(part);
      if (part === undefined || part.all) await target.apply(change);
      else partly[path] = await target.applyPart(path, part.bytes);
      applied.push(path);
    } catch (error) {
      skipped.push({ path, why: reasonOf(error) });
    }
  }
  const given = new Set(changes.map(({ path }) => path));
  for (const path of hunks.keys())
    if (!given.has(path)) skipped.push({ path, why: 'it is no staged change' });
  await target.closeFolders();
  return { applied, skipped, partly };
}

/** A file in the place of a folder comes after the deletions that empty it; a folder in the place of a file before its content. */
function inOrder(changes: readonly Change[]): Change[] {
  const phase = (change: Change): number =>
    change.kind === 'deleted' ? 1 : change.kind === 'type' && change.replacesFolder ? 2 : 0;
  return [0, 1, 2].flatMap((wanted) => changes.filter((change) => phase(change) === wanted));
}

class NotApplied extends Error {}

const inWords: Readonly<Record<string, string>> = {
  EACCES: 'you may not write there',
  EDQUOT: 'your quota on the disk is used up',
  EEXIST: 'it has come to be on the host meanwhile',
  EISDIR: 'it has become a folder on the host',
  ELOOP: 'a folder above it is a link on the host',
  ENOENT: 'a folder above it is gone on the host',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a folder above it is none on the host',
  ENOTEMPTY: 'the folder holds what the list does not name',
  EPERM: 'the host does not permit it',
  EROFS: 'the host’s file system is read-only',
};

function reasonOf(error: unknown): string {
  if (error instanceof NotApplied) return error.message;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return inWords[code] ?? (code === '' ? 'it could not be written' : code);
}

function refusal(change: Change, choice: Choice): string | null {
  if (change.conflict !== null) return change.conflict;
  if (change.sensitive !== null && !choice.sensitive.includes(change.path))
    return `not named: ${change.sensitive}`;
  return null;
}

type Owner = { readonly uid: number; readonly gid: number } | null;
type Chunks = AsyncIterable<Buffer> | Iterable<Buffer>;

class Target {
  readonly #upper: Tree;
  readonly #lower: Tree;
  readonly #owner: Owner;
  /** New folders that their owner may not write: closed when everything is in them. */
  readonly #closed: { readonly path: string; readonly mode: number }[] = [];

  constructor(staged: Staged, owner: Owner) {
    this.#upper = new Tree(staged.upper);
    this.#lower = new Tree(staged.lower);
    this.#owner = owner;
  }

  async apply(change: Change): Promise<void> {
    const { path, kind } = change;
    const there = await this.#lower.stat(path);
    if (kind === 'deleted') {
      if (there !== null)
        await this.#lower.at(path, (place) => (there.isDirectory() ? rmdir(place) : unlink(place)));
      return;
    }
    const from = await this.#upper.stat(path);
    if (from === null) throw new NotApplied('it is gone');
    const mode = from.mode & 0o777;
    if (kind === 'mode') return await this.#lower.at(path, (place) => chmodPinned(place, mode));
    if (kind === 'type') await this.#makeRoom(path, there, from.isDirectory());
    if (from.isDirectory()) return await this.#folder(path, mode);
    // What was not there is not replaced; what was is, if it still is what was compared.
    const expected = kind === 'added' || there?.isDirectory() === true ? null : there;
    if (from.isSymbolicLink()) return await this.#link(path, expected);
    if (!from.isFile()) throw new NotApplied('it is no file');
    const done = await this.#upper.withFile(path, async (source) => {
      await this.#file(path, mode, chunksOf(source), expected);
      return true;
    });
    if (done === null) throw new NotApplied('it is no file');
  }

  /** Writes a file of which only a part was wanted; it keeps its mode. Returns what it is now. */
  async applyPart(path: string, bytes: Buffer): Promise<string> {
    const there = await this.#lower.stat(path);
    if (there?.isFile() !== true) throw new NotApplied('it is no file');
    await this.#file(path, there.mode & 0o777, [bytes], there);
    const now = await this.#lower.stat(path);
    return now === null ? '' : identityOf(now);
  }

  async closeFolders(): Promise<void> {
    for (const { path, mode } of this.#closed.reverse())
      await this.#lower.at(path, (place) => chmodPinned(place, mode));
  }

  readonly #make = (place: string): Promise<void> => makeFolder(place, 0o755, this.#owner);

  async #makeRoom(path: string, there: Stats | null, forFolder: boolean): Promise<void> {
    if (there === null) return;
    if (there.isDirectory()) await this.#lower.at(path, (place) => rmdir(place));
    else if (forFolder) await this.#lower.at(path, (place) => unlink(place));
  }

  async #folder(path: string, mode: number): Promise<void> {
    const open = mode | 0o700;
    if (open !== mode) this.#closed.push({ path, mode });
    await this.#lower.at(path, (place) => makeFolder(place, open, this.#owner), this.#make);
  }

  async #link(path: string, expected: Stats | null): Promise<void> {
    const target = await this.#upper.readLink(path);
    await this.#place(path, expected, async (temporary) => {
      await symlink(target, temporary);
      if (this.#owner !== null) await lchown(temporary, this.#owner.uid, this.#owner.gid);
    });
  }

  async #file(path: string, mode: number, chunks: Chunks, expected: Stats | null): Promise<void> {
    await this.#place(path, expected, async (temporary) => {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const handle = await open(temporary, flags, 0o600);
      try {
        await writeFile(handle, chunks);
        if (this.#owner !== null) await handle.chown(this.#owner.uid, this.#owner.gid);
        await handle.chmod(mode);
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  /**
   * Makes the new thing under a name nobody knows, then puts it into place: what is there is replaced, never followed, and only
   * while it is what was compared. Where nothing was, nothing that came meanwhile is replaced.
   */
  async #place(
    path: string,
    expected: Stats | null,
    make: (temporary: string) => Promise<void>,
  ): Promise<void> {
    await this.#lower.at(
      path,
      async (place) => {
        const temporary = `${place.slice(0, place.lastIndexOf('/'))}/.glovebox-${randomUUID()}`;
        try {
          await make(temporary);
          const now = await lstat(place).catch(() => null);
          if (expected === null ? now !== null : now === null || identityOf(now) !== identityOf(expected))
            throw new NotApplied('it changed on the host a moment ago');
          await rename(temporary, place);
        } catch (error) {
          await rm(temporary, { force: true });
          throw error;
        }
      },
      this.#make,
    );
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
