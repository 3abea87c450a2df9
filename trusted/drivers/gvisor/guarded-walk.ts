import type { Stats } from 'node:fs';
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import { hostExecuted, hostExecutedTable } from '../../../pure/policy/index.ts';
import { absent } from './host-view.ts';
import { runCommand } from './run-command.ts';

/** What of a workspace host tools execute or obey unasked: an agent in direct mode may read it, not change it [R48]. */
export interface GuardedPaths {
  /** Files and folders that exist, relative; each is mounted read-only. Never a link: a mount would follow it. */
  readonly readOnly: readonly string[];
  /** What is there now and was not, or is another one (a link cannot be mounted over). Relative, sorted. */
  changed(): Promise<readonly string[]>;
}

const nothing: GuardedPaths = { readOnly: [], changed: async () => [] };

export async function guardedPaths(workspace: string, mode: 'staged' | 'direct'): Promise<GuardedPaths> {
  // A staged change reaches the folder only through apply, which asks for each of these by name.
  if (mode === 'staged') return nothing;
  const before = await survey(workspace);
  const readOnly = [...before].flatMap(([path, found]) => (found.mountable ? [path] : []));
  if (readOnly.length > limits.guardedPaths.value)
    throw refused(
      workspace,
      `it holds ${readOnly.length} files that host tools execute unasked, too many to mount read-only`,
    );
  return {
    readOnly,
    changed: async () => {
      const now = await survey(workspace);
      return [...now].flatMap(([path, found]) => {
        const old = before.get(path);
        return old === undefined || (!old.mountable && old.identity !== found.identity) ? [path] : [];
      });
    },
  };
}

interface Found {
  readonly mountable: boolean;
  /** Differs once the entry was replaced or written: its change time cannot be set back. */
  readonly identity: string;
}

async function survey(workspace: string): Promise<Map<string, Found>> {
  const named = await findNamed(workspace);
  const paths = new Set<string>();
  for (const path of named) {
    const entry = await lstat(join(workspace, path)).catch(absent);
    if (entry === undefined) continue;
    const isGit = path === '.git' || path.toLowerCase().endsWith('/.git');
    if (isGit && entry.isDirectory())
      for (const inside of await gitFolder(workspace, path)) paths.add(inside);
    else if (isHead(path) && hostExecuted(path) === null) {
      if (await isRepository(workspace, dirname(path)))
        for (const inside of await gitFolder(workspace, dirname(path))) paths.add(inside);
    } else paths.add(path);
    if (entry.isSymbolicLink()) {
      const target = await targetInside(workspace, path);
      if (target !== undefined) paths.add(target);
    }
  }
  const found = new Map<string, Found>();
  for (const path of [...paths].sort()) {
    const entry = await lstat(join(workspace, path)).catch(absent);
    if (entry !== undefined)
      found.set(path, { mountable: entry.isFile() || entry.isDirectory(), identity: identityOf(entry) });
  }
  return found;
}

const isHead = (path: string): boolean => basename(path) === 'HEAD';

/** git takes any folder with these for a repository, whatever its name, and obeys its configuration and hooks in it. */
async function isRepository(workspace: string, folder: string): Promise<boolean> {
  const has = async (name: string): Promise<boolean> =>
    (await lstat(join(workspace, folder, name)).catch(absent)) !== undefined;
  return (await has('commondir')) || ((await has('objects')) && (await has('refs')));
}

const identityOf = (entry: Stats): string => `${entry.ino} ${entry.ctimeMs} ${entry.size} ${entry.mode}`;

/** The table as one expression over a path: a test for each name would take longer than the walk. A star of a path may hold slashes. */
const onTheList = `.*/(${['.git', ...hostExecutedTable.flatMap(({ names }) => names)]
  .map((name) => (name.endsWith('/') ? name.slice(0, -1) : name))
  .map((name) =>
    name.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', name.includes('/') ? '.*' : '[^/]*'),
  )
  .join('|')})`;

/**
 * `find` walks faster than Node, follows no link and enters nothing that is on the list itself. Installed packages are
 * left out: there are thousands, and nothing runs them before something on the list, or a person, says so.
 */
async function findNamed(workspace: string): Promise<string[]> {
  try {
    const output = await runCommand(
      'find',
      [
        '.',
        ...['-regextype', 'posix-extended', '-type', 'd'],
        '-name',
        'node_modules',
        '-prune',
        '-o',
        ...['(', '-iregex', onTheList, '-o', '-name', 'HEAD', ')'],
        '-printf',
        '%P\\0',
        '-prune',
      ],
      { cwd: workspace, timeoutMs: limits.guardedWalk.value },
    );
    return output.split('\0').filter((path) => path !== '' && (hostExecuted(path) !== null || isHead(path)));
  } catch (error) {
    // What the walk did not see would be writable.
    throw refused(workspace, 'the search for what host tools execute unasked did not end', error);
  }
}

/** Of a repository everything but its data: hooks, configuration, where it is, half-done rebases. */
async function gitFolder(workspace: string, folder: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(workspace, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.name === 'modules' && entry.isDirectory()) paths.push(...(await submodules(workspace, path)));
    else if (hostExecuted(`.git/${entry.name}${entry.isDirectory() ? '/' : ''}`) !== null) paths.push(path);
  }
  const alternates = `${folder}/objects/info/alternates`;
  if ((await lstat(join(workspace, alternates)).catch(absent)) !== undefined) paths.push(alternates);
  return paths;
}

/** A submodule's repository lies under its name, which may have slashes; its data is data like any other. */
async function submodules(workspace: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(workspace, folder), { withFileTypes: true });
  const has = (name: string): boolean => entries.some((entry) => entry.name === name);
  if (has('HEAD') && has('objects')) return gitFolder(workspace, folder);
  const paths: string[] = [];
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) paths.push(...(await submodules(workspace, path)));
    else paths.push(path);
  }
  return paths;
}

/** What a link on the list stands for, where that is in the workspace: its name is not on the list, its content counts. */
async function targetInside(workspace: string, path: string): Promise<string | undefined> {
  const [root, target] = await Promise.all([
    realpath(workspace),
    realpath(join(workspace, path)).catch(() => undefined),
  ]);
  if (target?.startsWith(`${root}/`) !== true) return undefined;
  const found = await stat(target).catch(absent);
  return found === undefined ? undefined : target.slice(root.length + 1);
}

const refused = (path: string, detail: string, cause?: unknown): GloveboxError =>
  new GloveboxError(
    'GB_WORKSPACE_REFUSED',
    { path, detail: `${detail}; staged mode has no such bound` },
    { cause },
  );
