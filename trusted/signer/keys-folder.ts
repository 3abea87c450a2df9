import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { GloveboxError } from '../../pure/contracts/index.ts';

const temporary = '.new-';

/**
 * The folder that holds signing keys: 0700, files 0600, ours, no links. Looser permissions are refused rather than
 * repaired: whoever could read a key may have it already, and a person has to decide what follows.
 */
export class KeysFolder {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static open(path: string): KeysFolder {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const stats = lstatSync(path);
    if (!stats.isDirectory()) throw unsafe(path, 'it is not a folder');
    checkPrivate(path, stats);
    // What a crash left half-written was never renamed into place, so nothing refers to it.
    for (const name of readdirSync(path)) if (name.startsWith(temporary)) unlinkSync(join(path, name));
    return new KeysFolder(path);
  }

  read(name: string): string | undefined {
    const path = join(this.#path, name);
    const fd = openNoFollow(path);
    if (fd === undefined) return undefined;
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) throw unsafe(path, 'it is not a regular file');
      checkPrivate(path, stats);
      return readFileSync(fd, 'utf8');
    } finally {
      closeSync(fd);
    }
  }

  remove(name: string): void {
    rmSync(join(this.#path, name), { force: true });
  }

  /** Whole or not at all, also through a power cut: write, fsync, rename, fsync of the folder. */
  write(name: string, content: string): void {
    const fresh = join(this.#path, `${temporary}${randomBytes(8).toString('hex')}`);
    const fd = openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      writeFileSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(fresh, join(this.#path, name));
    const folder = openSync(this.#path, constants.O_RDONLY);
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}

function openNoFollow(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw unsafe(path, 'it is a symbolic link');
    throw error;
  }
}

function checkPrivate(path: string, stats: Stats): void {
  if ((stats.mode & 0o077) !== 0) {
    throw unsafe(path, `its permissions are ${(stats.mode & 0o777).toString(8)}, so others can reach it`);
  }
  if (stats.uid !== process.geteuid?.()) throw unsafe(path, `it belongs to uid ${stats.uid}`);
}

const unsafe = (path: string, detail: string): GloveboxError =>
  new GloveboxError('GB_KEYS_UNSAFE', { path, detail });
