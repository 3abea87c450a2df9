import { closeSync, constants, fstatSync, readFileSync } from 'node:fs';
import { lstat, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { filesTools, toolName } from '../../../pure/contracts/index.ts';
import { ProviderFailure, type Operation } from '../../provider-sdk/index.ts';
import { atPlace, entriesOf, inFolder, openAt, pathOf, type Place } from './place.ts';

export interface Folder {
  readonly name: string;
  readonly write: boolean;
}

const maxFile = 700_000;
const maxEntries = 2_000;
const maxMatches = 200;
const maxSearched = 20_000;
const maxDepth = 100;

/**
 * The files domain over folders mounted below `root`: `/notes/a.txt` is `<root>/notes/a.txt`. One file or folder is read with
 * calls that block: each is some microseconds, and to hand it to a thread of Node's and back costs more than all of them.
 */
export function filesOperations(
  root: string,
  folders: readonly Folder[],
): Readonly<Record<string, Operation>> {
  const at = <T>(path: string, writing: boolean, work: (place: Place) => T | Promise<T>): Promise<T> =>
    reach(root, folders, path, writing, work);
  return {
    list: async (args) => {
      const { path } = parse('files_list', args);
      if (path === '/')
        return { entries: folders.map(({ name, write }) => ({ name, kind: 'folder', write })) };
      const entries = await at(path, false, (place) => inFolder(place, entriesOf));
      return {
        truncated: entries.length > maxEntries,
        entries: entries.slice(0, maxEntries).map((entry) => ({
          name: entry.name,
          kind: entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other',
        })),
      };
    },
    read: async (args) => {
      const { path } = parse('files_read', args);
      return { path, content: await at(path, false, readText) };
    },
    search: async (args) => {
      const { path, text } = parse('files_search', args);
      return await at(path, false, (place) => search(place, path, text));
    },
    write: async (args) => {
      const { path, content } = parse('files_write', args);
      await at(path, true, (place) => replace(place, content));
      return { path, bytes: Buffer.byteLength(content) };
    },
  };
}

function parse(name: string, args: Record<string, unknown>): { path: string; text: string; content: string } {
  const tool = filesTools.find((candidate) => toolName(candidate) === name);
  const result = tool?.input.safeParse(args);
  if (result?.success !== true)
    throw new ProviderFailure('invalid-arguments', 'The arguments do not fit the operation.');
  return { path: '/', text: '', content: '', ...result.data };
}

/**
 * Works at a path inside one of the folders, without a link on the way: a scope is for a path, and a link would carry it to another
 * one, in the same shared folder or outside of it (R37).
 */
async function reach<T>(
  root: string,
  folders: readonly Folder[],
  path: string,
  forWriting: boolean,
  work: (place: Place) => T | Promise<T>,
): Promise<T> {
  const [name = '', ...rest] = path.slice(1).split('/');
  const folder = folders.find((candidate) => candidate.name === name);
  if (folder === undefined) throw new ProviderFailure('not-found', 'There is no such shared folder.');
  if (forWriting && !folder.write) throw new ProviderFailure('read-only', 'This shared folder is read-only.');
  if (forWriting && rest.length === 0) throw new ProviderFailure('not-a-file', 'This is a folder.');
  return await atPlace(join(root, name), rest, forWriting, work);
}

/** Regular files only, opened without following a link or waiting on a FIFO. */
function readText(place: Place): string {
  const file = openAt(place, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const info = fstatSync(file);
    if (!info.isFile()) throw new ProviderFailure('not-a-file', 'This is not a regular file.');
    if (info.size > maxFile)
      throw new ProviderFailure('too-large', `The file is larger than ${String(maxFile)} bytes.`);
    const bytes = readFileSync(file);
    if (bytes.includes(0)) throw new ProviderFailure('not-text', 'This is not a text file.');
    return bytes.toString('utf8');
  } finally {
    closeSync(file);
  }
}

/** Written beside its place and renamed: a reader sees the old file or the new one, and a link is replaced, not followed. */
async function replace(place: Place, content: string): Promise<void> {
  const path = pathOf(place);
  const there = await lstat(path).catch(() => null);
  if (there !== null && !there.isFile())
    throw new ProviderFailure('not-a-file', 'There is something else at this path.');
  const temporary = `${path}.glovebox-${String(process.pid)}-${String(counter())}`;
  const handle = await open(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    there?.mode ?? 0o644,
  );
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path).catch(async (error: unknown) => {
    await rm(temporary, { force: true });
    throw error;
  });
}

let written = 0;
const counter = (): number => (written += 1);

/** Undefined: no file that is text. */
function textOf(place: Place): string | undefined {
  try {
    return readText(place);
  } catch (error) {
    if (error instanceof ProviderFailure) return undefined;
    throw error;
  }
}

async function search(start: Place, shown: string, text: string): Promise<Record<string, unknown>> {
  const matches: { path: string; line: number; text: string }[] = [];
  let searched = 0;
  const full = (): boolean => matches.length >= maxMatches || searched >= maxSearched;
  const look = async (place: Place, name: string, depth: number): Promise<void> => {
    if (full()) return;
    searched += 1;
    // A search takes its time: others have a turn between its files.
    await new Promise(setImmediate);
    const content = textOf(place);
    (content ?? '').split('\n').forEach((line, index) => {
      if (matches.length < maxMatches && line.includes(text))
        matches.push({ path: name, line: index + 1, text: line.slice(0, 500) });
    });
    // Each level holds its folder open.
    if (content !== undefined || depth >= maxDepth) return;
    await inFolder(place, async (folder) => {
      // Links are not followed: withFileTypes tells them from files and folders.
      for (const entry of entriesOf(folder))
        if (entry.isDirectory() || entry.isFile())
          await look({ folder, name: entry.name }, join(name, entry.name), depth + 1);
    }).catch((error: unknown) => {
      // No folder, or none any more.
      if (!(error instanceof ProviderFailure)) throw error;
    });
  };
  await look(start, shown, 0);
  return { matches, truncated: full() };
}
