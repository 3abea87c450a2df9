import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/paths.mjs';
import { filesBelow } from '../setup/sources.mjs';

/** Every file of the repository, committed or about to be, as paths relative to the root. */
export function repositoryFiles() {
  if (!existsSync(join(root, '.git')))
    return filesBelow(root, () => true).map((path) => path.slice(root.length + 1));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return listed.split('\0').filter((path) => path !== '' && existsSync(join(root, path)));
}

/** The text of a file, or undefined for a binary or a very large one. @param {string} path relative to the root */
export function textOf(path) {
  const absolute = join(root, path);
  if (statSync(absolute).size > 2 << 20) return undefined;
  const text = readFileSync(absolute, 'utf8');
  return text.includes('\0') ? undefined : text;
}
