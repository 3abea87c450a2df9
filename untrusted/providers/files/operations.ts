import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { lstat, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { filesTools, toolName } from '../../../pure/contracts/index.ts';
import { ProviderFailure, type Operation } from '../../provider-sdk/index.ts';

export interface Folder {
  readonly name: string;
  readonly write: boolean;
}

const maxFile = 700_000;
const maxEntries = 2_000;
const maxMatches = 200;
const maxSearched = 20_000;

/**
 * The files domain over folders mounted below `root`: `/notes/a.txt` is `<root>/notes/a.txt`. One file or folder is read with
 * calls that block: each is some microseconds, and to hand it to a thread of Node's and back costs more than all of them.
 */
export function filesOperations(
  root: string,
  folders: readonly Folder[],
): Readonly<Record<string, Operation>> {
  const read = (path: string): string => resolveToRead(root, folders, path);
  return {
    list: (args) =>
      atOnce(() => {
        const { path } = parse('files_list', args);
        if (path === '/')
          return { entries: folders.map(({ name, write }) => ({ name, kind: 'folder', write })) };
        const entries = readdirSync(read(path), { withFileTypes: true });
        return {
          truncated: entries.length > maxEntries,
          entries: entries.slice(0, maxEntries).map((entry) => ({
            name: entry.name,
            kind: entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other',
          })),
        };
      }),
    read: (args) =>
      atOnce(() => {
        const { path } = parse('files_read', args);
        return { path, content: readText(read(path)) };
      }),
    search: async (args) => {
      const { path, text } = parse('files_search', args);
      return search(read(path), path, text);
    },
    write: async (args) => {
      const { path, content } = parse('files_write', args);
      await replace(await resolveToWrite(root, folders, path), content);
      return { path, bytes: Buffer.byteLength(content) };
    },
  };
}

/** What it throws is the promise's failure. */
const atOnce = <T>(work: () => T): Promise<T> => new Promise((resolve) => resolve(work()));

function parse(name: string, args: Record<string, unknown>): { path: string; text: string; content: string } {
  const tool = filesTools.find((candidate) => toolName(candidate) === name);
  const result = tool?.input.safeParse(args);
  if (result?.success !== true)
    throw new ProviderFailure('invalid-arguments', 'The arguments do not fit the operation.');
  return { path: '/', text: '', content: '', ...result.data };
}

/** The folder that a path names first, and the steps below it. */
function place(
  folders: readonly Folder[],
  path: string,
): { readonly folder: Folder; readonly rest: readonly string[] } {
  const [name = '', ...rest] = path.slice(1).split('/');
  const folder = folders.find((candidate) => candidate.name === name);
  if (folder === undefined) throw new ProviderFailure('not-found', 'There is no such shared folder.');
  return { folder, rest };
}

/**
 * A path inside one of the folders, without a link on the way: a scope is for a path, and a link would carry it to another one,
 * in the same shared folder or outside of it (R37).
 */
function resolveToRead(root: string, folders: readonly Folder[], path: string): string {
  const { folder, rest } = place(folders, path);
  const wanted = join(realpathSync.native(join(root, folder.name)), ...rest);
  let real: string;
  try {
    real = realpathSync.native(wanted);
  } catch {
    throw new ProviderFailure('not-found', 'There is no such file.');
  }
  if (real !== wanted) throw throughLink();
  return real;
}

async function resolveToWrite(root: string, folders: readonly Folder[], path: string): Promise<string> {
  const { folder, rest } = place(folders, path);
  if (!folder.write) throw new ProviderFailure('read-only', 'This shared folder is read-only.');
  if (rest.length === 0) throw new ProviderFailure('not-a-file', 'This is a folder.');
  const base = await realpath(join(root, folder.name));
  await makeFolders(base, rest.slice(0, -1));
  return join(base, ...rest);
}

/** Each step is made and checked before the next: `mkdir -p` would follow a link. */
async function makeFolders(base: string, steps: readonly string[]): Promise<void> {
  let here = base;
  for (const step of steps) {
    here = join(here, step);
    await mkdir(here).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    });
    if ((await realpath(here)) !== here) throw throughLink();
  }
}

const throughLink = (): ProviderFailure =>
  new ProviderFailure('not-found', 'This path leads through a link; give the path that it leads to.');

/** Regular files only, opened without following a link or waiting on a FIFO. */
function readText(path: string): string {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw new ProviderFailure('not-found', 'There is no such file, or it cannot be read.');
  }
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
async function replace(path: string, content: string): Promise<void> {
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

/** What is no text is searched as nothing. */
function textOrNothing(path: string): string {
  try {
    return readText(path);
  } catch (error) {
    if (error instanceof ProviderFailure) return '';
    throw error;
  }
}

async function search(real: string, shown: string, text: string): Promise<Record<string, unknown>> {
  const matches: { path: string; line: number; text: string }[] = [];
  const queue: [string, string][] = [[real, shown]];
  let searched = 0;
  for (
    let next = queue.pop();
    next !== undefined && matches.length < maxMatches && searched < maxSearched;
    next = queue.pop()
  ) {
    const [path, name] = next;
    searched += 1;
    if ((await stat(path)).isDirectory()) {
      // Links are not followed: withFileTypes tells them from files and folders.
      const entries = await readdir(path, { withFileTypes: true });
      for (const entry of entries)
        if (entry.isDirectory() || entry.isFile())
          queue.push([join(path, entry.name), join(name, entry.name)]);
      continue;
    }
    const content = textOrNothing(path);
    content.split('\n').forEach((line, index) => {
      if (matches.length < maxMatches && line.includes(text))
        matches.push({ path: name, line: index + 1, text: line.slice(0, 500) });
    });
  }
  return { matches, truncated: matches.length >= maxMatches || searched >= maxSearched };
}
