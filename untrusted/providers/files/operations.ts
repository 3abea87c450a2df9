import { constants } from 'node:fs';
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

/** The files domain over folders mounted below `root`: `/notes/a.txt` is `<root>/notes/a.txt`. */
export function filesOperations(
  root: string,
  folders: readonly Folder[],
): Readonly<Record<string, Operation>> {
  const read = (path: string): Promise<string> => resolve(root, folders, path, false);
  return {
    list: async (args) => {
      const { path } = parse('files_list', args);
      if (path === '/')
        return { entries: folders.map(({ name, write }) => ({ name, kind: 'folder', write })) };
      const entries = await readdir(await read(path), { withFileTypes: true });
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
      return { path, content: await readText(await read(path)) };
    },
    search: async (args) => {
      const { path, text } = parse('files_search', args);
      return search(await read(path), path, text);
    },
    write: async (args) => {
      const { path, content } = parse('files_write', args);
      await replace(await resolve(root, folders, path, true), content);
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
 * A path inside one of the folders, without a link on the way: a scope is for a path, and a link would carry it to another one,
 * in the same shared folder or outside of it (R37).
 */
async function resolve(
  root: string,
  folders: readonly Folder[],
  path: string,
  forWriting: boolean,
): Promise<string> {
  const [name = '', ...rest] = path.slice(1).split('/');
  const folder = folders.find((candidate) => candidate.name === name);
  if (folder === undefined) throw new ProviderFailure('not-found', 'There is no such shared folder.');
  if (forWriting && !folder.write) throw new ProviderFailure('read-only', 'This shared folder is read-only.');
  if (forWriting && rest.length === 0) throw new ProviderFailure('not-a-file', 'This is a folder.');
  const base = await realpath(join(root, name));
  const wanted = join(base, ...rest);
  if (forWriting) {
    await makeFolders(base, rest.slice(0, -1));
    return wanted;
  }
  const real = await realpath(wanted).catch(() => {
    throw new ProviderFailure('not-found', 'There is no such file.');
  });
  if (real !== wanted) throw throughLink();
  return real;
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
async function readText(path: string): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    () => {
      throw new ProviderFailure('not-found', 'There is no such file, or it cannot be read.');
    },
  );
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw new ProviderFailure('not-a-file', 'This is not a regular file.');
    if (info.size > maxFile)
      throw new ProviderFailure('too-large', `The file is larger than ${String(maxFile)} bytes.`);
    const bytes = await handle.readFile();
    if (bytes.includes(0)) throw new ProviderFailure('not-text', 'This is not a text file.');
    return bytes.toString('utf8');
  } finally {
    await handle.close();
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
    const content = await readText(path).catch((error: unknown) => {
      if (error instanceof ProviderFailure) return '';
      throw error;
    });
    content.split('\n').forEach((line, index) => {
      if (matches.length < maxMatches && line.includes(text))
        matches.push({ path: name, line: index + 1, text: line.slice(0, 500) });
    });
  }
  return { matches, truncated: matches.length >= maxMatches || searched >= maxSearched };
}
