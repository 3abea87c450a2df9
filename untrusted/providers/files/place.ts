import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Dirent,
} from 'node:fs';
import { ProviderFailure } from '../../provider-sdk/index.ts';

/**
 * A name in a folder that is held open. Whoever can rename folders meanwhile (an agent whose workspace is a shared folder) changes
 * where a path leads, and not where an open folder is: every step goes from one open folder to the next.
 */
export interface Place {
  /** Its descriptor. */
  readonly folder: number;
  /** `.`: the folder itself. */
  readonly name: string;
}

/** The kernel goes through the descriptor to the folder itself, under whatever name it now is (proc(5), /proc/pid/fd). */
export const pathOf = ({ folder, name }: Place): string => `/proc/self/fd/${String(folder)}/${name}`;

export const throughLink = (): ProviderFailure =>
  new ProviderFailure('not-found', 'This path leads through a link; give the path that it leads to.');
const notThere = (): ProviderFailure =>
  new ProviderFailure('not-found', 'There is no such file, or it cannot be read.');

/** O_NOFOLLOW holds for the last step only, and here each step is the last one. */
export function openAt(place: Place, flags: number): number {
  try {
    return openSync(pathOf(place), flags | constants.O_NOFOLLOW);
  } catch {
    const there = lstatSync(pathOf(place), { throwIfNoEntry: false });
    throw there?.isSymbolicLink() === true ? throughLink() : notThere();
  }
}

/** Works in the folder at a place, which is open for as long. */
export async function inFolder<T>(place: Place, work: (folder: number) => T | Promise<T>): Promise<T> {
  // Not with O_DIRECTORY: gVisor then follows a link, O_NOFOLLOW or not, where Linux refuses it.
  const folder = openAt(place, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(folder).isDirectory()) throw notThere();
    return await work(folder);
  } finally {
    closeSync(folder);
  }
}

export const entriesOf = (folder: number): Dirent[] =>
  readdirSync(pathOf({ folder, name: '.' }), { withFileTypes: true });

/** From the mounted folder to the place that the steps lead to; `make`: folders on the way that are missing. */
export async function atPlace<T>(
  base: string,
  steps: readonly string[],
  make: boolean,
  work: (place: Place) => T | Promise<T>,
): Promise<T> {
  let mounted: number;
  try {
    mounted = openSync(base, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    throw notThere();
  }
  const walk = async (folder: number, [step = '.', ...rest]: readonly string[]): Promise<T> => {
    const place = { folder, name: step };
    if (rest.length === 0) return await work(place);
    if (make) {
      try {
        mkdirSync(pathOf(place));
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
    }
    return await inFolder(place, (next) => walk(next, rest));
  };
  try {
    return await walk(mounted, steps);
  } finally {
    closeSync(mounted);
  }
}
