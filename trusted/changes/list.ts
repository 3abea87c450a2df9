import type { Stats } from 'node:fs';
import { getAttribute } from 'fs-xattr';
import { limits, type Change } from '../../pure/contracts/index.ts';
import { hostExecuted, isCredentialFile } from '../../pure/policy/index.ts';
import { isRepository, obeyedInRepository } from './git-folder.ts';
import { identityOf } from './identity.ts';
import { Tree } from './tree.ts';

/** A staged workspace: the host's folder below, what the sandbox wrote above (an overlayfs upper folder). */
export interface Staged {
  readonly lower: string;
  readonly upper: string;
  /** When the sandbox started: what the host changed later is a conflict. */
  readonly since: Date;
  /** As root the kernel marks opaque folders as `trusted.overlay.opaque`, else as `user.overlay.opaque`. */
  readonly asRoot: boolean;
  /** Globs of credential files that the policy shows; the others were hidden. */
  readonly show: readonly string[];
  /** Files that were applied in part, and what they were right after: no change of the host's (see `identityOf`). */
  readonly partly?: Readonly<Record<string, string>>;
}

export interface ListedChange extends Change {
  /** Something else took the place of a folder, whose content is listed as deleted. */
  readonly replacesFolder: boolean;
}

export interface Listing {
  readonly changes: readonly ListedChange[];
  readonly truncated: boolean;
}

/** Whether a path is one of these, or lies below one; undefined: all are. */
export const isChosen = (path: string, chosen: readonly string[] | undefined): boolean =>
  chosen === undefined || chosen.some((wanted) => path === wanted || path.startsWith(`${wanted}/`));

/** What the upper folder means for the lower one, sorted by path; parents before their content. */
export async function listChanges(staged: Staged): Promise<Listing> {
  const walk = new Walk(staged);
  await walk.folder('', undefined);
  return { changes: walk.changes, truncated: walk.truncated };
}

class Walk {
  readonly changes: ListedChange[] = [];
  truncated = false;
  readonly #staged: Staged;
  readonly #lower: Tree;
  readonly #upper: Tree;
  #repository: string | undefined;

  constructor(staged: Staged) {
    this.#staged = staged;
    this.#lower = new Tree(staged.lower);
    this.#upper = new Tree(staged.upper);
  }

  /** `repository`: the folder above that git takes for a repository though it is not called so. */
  async folder(path: string, repository: string | undefined): Promise<void> {
    const names = await this.#upper.list(path);
    const within =
      repository ??
      (names.length > 0 && (await isRepository(path, [this.#upper, this.#lower])) ? path : undefined);
    for (const name of names) {
      if (this.truncated) return;
      this.#repository = within;
      await this.#entry(path === '' ? name : `${path}/${name}`, within);
    }
  }

  async #entry(path: string, repository: string | undefined): Promise<void> {
    const upper = await this.#upper.stat(path);
    const lower = await this.#lower.stat(path);
    if (upper === null) return;
    if (isWhiteout(upper)) {
      if (lower !== null && !isCredentialFile(path, this.#staged.show)) await this.#removed(path, lower);
    } else if (upper.isDirectory()) await this.#directory(path, upper, lower, repository);
    else if (upper.isFile()) await this.#file(path, upper, lower);
    else if (upper.isSymbolicLink()) await this.#link(path, upper, lower);
    else this.#add(path, 'type', upper, lower, 'it is a device, a socket or a FIFO, and is never applied');
  }

  async #directory(
    path: string,
    upper: Stats,
    lower: Stats | null,
    repository: string | undefined,
  ): Promise<void> {
    if (lower === null) this.#add(path, 'added', upper, lower);
    else if (!lower.isDirectory()) this.#add(path, 'type', upper, lower);
    else {
      if ((upper.mode & 0o777) !== (lower.mode & 0o777)) this.#add(path, 'mode', upper, lower);
      if (await this.#opaque(path)) {
        const kept = new Set(await this.#upper.list(path));
        for (const name of await this.#lower.list(path)) {
          const below = `${path}/${name}`;
          const there = await this.#lower.stat(below);
          if (!kept.has(name) && there !== null && !isCredentialFile(below, this.#staged.show))
            await this.#removed(below, there);
        }
      }
    }
    await this.folder(path, repository);
  }

  /** A folder that is gone is said of everything in it: what is deleted is never out of sight. */
  async #removed(path: string, lower: Stats): Promise<void> {
    await this.#emptied(path, lower);
    this.#add(path, 'deleted', null, lower);
  }

  async #emptied(path: string, lower: Stats): Promise<void> {
    if (!lower.isDirectory()) return;
    for (const name of await this.#lower.list(path)) {
      const below = `${path}/${name}`;
      const there = await this.#lower.stat(below);
      if (there !== null) await this.#removed(below, there);
    }
  }

  async #file(path: string, upper: Stats, lower: Stats | null): Promise<void> {
    const hidden = lower !== null && isCredentialFile(path, this.#staged.show);
    if (lower === null) this.#add(path, 'added', upper, lower, null, await this.#binary(path));
    else if (hidden)
      this.#add(
        path,
        'modified',
        upper,
        lower,
        'the folder has a credential file of this name, which was hidden',
      );
    else if (!lower.isFile()) {
      await this.#emptied(path, lower);
      this.#add(path, 'type', upper, lower);
    } else if (!(await this.#same(path, upper, lower)))
      this.#add(path, 'modified', upper, lower, null, await this.#binary(path));
    else if ((upper.mode & 0o777) !== (lower.mode & 0o777)) this.#add(path, 'mode', upper, lower);
  }

  async #link(path: string, upper: Stats, lower: Stats | null): Promise<void> {
    const target = await this.#upper.readLink(path);
    if (lower?.isSymbolicLink() === true && (await this.#lower.readLink(path)) === target) return;
    if (lower !== null) await this.#emptied(path, lower);
    const leadsOut = leavesFolder(path, target) ? 'a link that leads out of the workspace' : null;
    this.#add(
      path,
      lower === null ? 'added' : lower.isSymbolicLink() ? 'modified' : 'type',
      upper,
      lower,
      null,
      false,
      leadsOut,
    );
  }

  #add(
    path: string,
    kind: Change['kind'],
    upper: Stats | null,
    lower: Stats | null,
    conflict: string | null = null,
    binary = false,
    sensitive: string | null = null,
  ): void {
    if (this.changes.length >= limits.changesListed.value) {
      this.truncated = true;
      return;
    }
    const later =
      lower !== null &&
      !lower.isDirectory() &&
      lower.ctimeMs > this.#staged.since.getTime() &&
      this.#staged.partly?.[path] !== identityOf(lower);
    const obeyed =
      this.#repository === undefined ? null : obeyedInRepository(path, kind === 'added', this.#repository);
    this.changes.push({
      path,
      kind,
      sensitive: sensitive ?? hostExecuted(path) ?? obeyed,
      conflict: conflict ?? (later ? 'the file changed on the host after the start' : null),
      size: upper?.isFile() === true ? upper.size : 0,
      binary,
      mode: upper === null ? null : upper.mode & 0o777,
      replacesFolder: kind === 'type' && lower?.isDirectory() === true,
    });
  }

  async #same(path: string, upper: Stats, lower: Stats): Promise<boolean> {
    if (upper.size !== lower.size) return false;
    const limit = limits.changesCompared.value;
    const [a, b] = [await this.#upper.read(path, limit), await this.#lower.read(path, limit)];
    return a !== null && b !== null && a.equals(b);
  }

  async #binary(path: string): Promise<boolean> {
    const found = await this.#upper.withFile(path, async (handle) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(8192), 0, 8192, 0);
      return buffer.subarray(0, bytesRead).includes(0);
    });
    return found ?? true;
  }

  async #opaque(path: string): Promise<boolean> {
    const name = this.#staged.asRoot ? 'trusted.overlay.opaque' : 'user.overlay.opaque';
    try {
      return await this.#upper.at(
        path,
        async (place) => (await getAttribute(place, name)).toString() === 'y',
      );
    } catch (error) {
      if (
        error instanceof Error &&
        /ENODATA|ENOATTR|ENOTSUP|No data available|not supported/i.test(
          `${error.message} ${String((error as NodeJS.ErrnoException).code)}`,
        )
      )
        return false;
      throw error;
    }
  }
}

/** A character device 0/0 stands for a deleted entry (Linux, overlayfs.rst); inside a sandbox nobody can make one. */
export const isWhiteout = (entry: Stats): boolean => entry.isCharacterDevice() && entry.rdev === 0;

function leavesFolder(path: string, target: string): boolean {
  if (target.startsWith('/')) return true;
  let depth = path.split('/').length - 1;
  for (const segment of target.split('/')) {
    if (segment === '..') depth -= 1;
    else if (segment !== '' && segment !== '.') depth += 1;
    if (depth < 0) return true;
  }
  return false;
}
