import { constants, type Stats } from 'node:fs';
import { lstat, open, readdir, readlink, type FileHandle } from 'node:fs/promises';

/**
 * A folder that hostile code may have filled, or may be changing now. Every step goes through the descriptor of its parent and
 * follows no link, so that no path leads out of it, whatever is exchanged in between (CVE-2018-15664 is of this kind).
 * Paths are relative, `a/b`; '' is the folder itself.
 */
export class Tree {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** lstat; null where there is nothing, or where the path crosses something that is not a folder. */
  async stat(path: string): Promise<Stats | null> {
    if (path === '') return lstat(this.#root).catch(missing);
    return this.at(path, (place) => lstat(place)).catch(missing);
  }

  async list(path: string): Promise<string[]> {
    const handle = await this.#folder(path === '' ? [] : path.split('/'));
    try {
      return (await readdir(inside(handle, '.'))).sort();
    } finally {
      await handle.close();
    }
  }

  readLink = (path: string): Promise<string> => this.at(path, (place) => readlink(place));

  /** A regular file's bytes, at most `limit`; null where it is larger or no regular file. */
  async read(path: string, limit: number): Promise<Buffer | null> {
    return this.withFile(path, async (handle) => {
      const { size } = await handle.stat();
      return size > limit ? null : handle.readFile();
    });
  }

  /** Opens a regular file for reading, without waiting on a FIFO or following a link. */
  async withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T | null> {
    const handle = await this.at(path, (place) =>
      open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
    );
    try {
      return (await handle.stat()).isFile() ? await use(handle) : null;
    } finally {
      await handle.close();
    }
  }

  /** Calls `use` with a path whose parent is pinned: `/proc/self/fd/N/name`. `make` creates missing folders on the way. */
  async at<T>(
    path: string,
    use: (place: string) => Promise<T>,
    make?: (place: string) => Promise<void>,
  ): Promise<T> {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    if (name === '' || name === '.' || name === '..') throw new Error('not a path inside a folder');
    const parent = await this.#folder(segments, make);
    try {
      return await use(inside(parent, name));
    } finally {
      await parent.close();
    }
  }

  async #folder(segments: readonly string[], make?: (place: string) => Promise<void>): Promise<FileHandle> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    // The root itself is trusted, and may be reached through links.
    let handle = await open(this.#root, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      for (const segment of segments) {
        if (segment === '' || segment === '.' || segment === '..')
          throw new Error('not a path inside a folder');
        const place = inside(handle, segment);
        if (make !== undefined) await make(place);
        const next = await open(place, flags);
        await handle.close();
        handle = next;
      }
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

const inside = (handle: FileHandle, name: string): string => `/proc/self/fd/${String(handle.fd)}/${name}`;

function missing(error: unknown): null {
  if (
    error instanceof Error &&
    'code' in error &&
    ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(String(error.code))
  )
    return null;
  throw error;
}
