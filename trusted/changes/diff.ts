import { formatPatch } from 'diff';
import type { Stats } from 'node:fs';
import { limits, type Change } from '../../pure/contracts/index.ts';
import { boundedPatch, shown } from './hunks.ts';
import { isChosen, listChanges, type Staged } from './list.ts';
import { Tree } from './tree.ts';

/** All changes as one unified diff, in git's form; what is too large or no text is named in a line. */
export async function diffChanges(staged: Staged, paths?: readonly string[]): Promise<string> {
  const { changes: all, truncated } = await listChanges(staged);
  const changes = all.filter(({ path }) => isChosen(path, paths));
  const lower = new Tree(staged.lower);
  const upper = new Tree(staged.upper);
  const parts: string[] = [];
  let length = 0;
  const deadline = performance.now() + limits.diffTime.value;
  for (const change of changes) {
    if (length > limits.diffText.value) {
      parts.push('… the rest is left out: the diff is too long\n');
      break;
    }
    const part = await diffOne(change, lower, upper, performance.now() < deadline);
    length += part.length;
    parts.push(part);
  }
  if (truncated) parts.push('… there are more changes than are listed\n');
  return parts.join('');
}

/**
 * What `git apply` takes, where git has a form for it. All else is one line without git's heading, which git passes over: a heading
 * without a change would make it refuse the whole.
 */
async function diffOne(change: Change, lower: Tree, upper: Tree, inTime: boolean): Promise<string> {
  const { path, kind } = change;
  const head = `diff --git a/${path} b/${path}\n`;
  const [was, is] = await Promise.all([lower.stat(path), upper.stat(path)]);
  const [oldMode, newMode] = [gitMode(was), gitMode(is)];
  const named = (why: string): string => `${kind} ${path}: ${why}\n`;
  if (kind === 'mode') {
    if (oldMode === null || newMode === null || oldMode === newMode)
      return named(`mode ${(change.mode ?? 0).toString(8)}`);
    return `${head}old mode ${oldMode}\nnew mode ${newMode}\n`;
  }
  if (kind === 'type') return named('something of another kind is in its place');
  if ((is ?? was)?.isDirectory() === true) return named('a folder');
  const before = kind === 'added' ? '' : await text(lower, path);
  const after = kind === 'deleted' ? '' : await text(upper, path);
  if (before === null || after === null || change.binary)
    return named(`not shown (no text, or larger than ${String(limits.diffFile.value)} bytes)`);
  const modes =
    kind === 'added'
      ? `new file mode ${newMode ?? '100644'}\n`
      : kind === 'deleted'
        ? `deleted file mode ${oldMode ?? '100644'}\n`
        : oldMode === newMode || oldMode === null || newMode === null
          ? ''
          : `old mode ${oldMode}\nnew mode ${newMode}\n`;
  if (before === after) return head + modes;
  const patch = inTime
    ? boundedPatch(
        kind === 'added' ? '/dev/null' : `a/${latin1(path)}`,
        kind === 'deleted' ? '/dev/null' : `b/${latin1(path)}`,
        before,
        after,
      )
    : undefined;
  if (patch === undefined) return named('not shown (too much of it has changed)');
  // An empty file has no hunk, and then no names either. The first line is the library's own rule.
  return head + modes + shown(formatPatch(patch)).replace(/^=+\n/, '');
}

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

/** The three modes that git knows. */
function gitMode(there: Stats | null): string | null {
  if (there?.isSymbolicLink() === true) return '120000';
  if (there?.isFile() !== true) return null;
  return (there.mode & 0o100) === 0 ? '100644' : '100755';
}

/** A file's text, one character for each byte; a link's target; null for what cannot be shown. */
async function text(tree: Tree, path: string): Promise<string | null> {
  const there = await tree.stat(path);
  if (there?.isSymbolicLink() === true) return latin1(await tree.readLink(path));
  if (there?.isFile() !== true) return null;
  const bytes = await tree.read(path, limits.diffFile.value);
  return bytes === null || bytes.subarray(0, 8192).includes(0) ? null : bytes.toString('latin1');
}
