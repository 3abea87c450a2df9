import { createTwoFilesPatch } from 'diff';
import type { Stats } from 'node:fs';
import { limits, type Change } from '../../pure/contracts/index.ts';
import { listChanges, type Staged } from './list.ts';
import { Tree } from './tree.ts';

/** All changes as one unified diff, in git's form; what is too large or no text is named in a line. */
export async function diffChanges(staged: Staged): Promise<string> {
  const { changes, truncated } = await listChanges(staged);
  const lower = new Tree(staged.lower);
  const upper = new Tree(staged.upper);
  const parts: string[] = [];
  let length = 0;
  for (const change of changes) {
    if (length > limits.diffText.value) {
      parts.push('… the rest is left out: the diff is too long\n');
      break;
    }
    const part = await diffOne(change, lower, upper);
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
async function diffOne(change: Change, lower: Tree, upper: Tree): Promise<string> {
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
  const patch = createTwoFilesPatch(
    kind === 'added' ? '/dev/null' : `a/${path}`,
    kind === 'deleted' ? '/dev/null' : `b/${path}`,
    before,
    after,
    '',
    '',
  );
  // An empty file has no hunk, and then no names either.
  return head + modes + (before === after ? '' : patch.split('\n').slice(1).join('\n'));
}

/** The three modes that git knows. */
function gitMode(there: Stats | null): string | null {
  if (there?.isSymbolicLink() === true) return '120000';
  if (there?.isFile() !== true) return null;
  return (there.mode & 0o100) === 0 ? '100644' : '100755';
}

/** A file's text; a link's target; null for what cannot be shown. */
async function text(tree: Tree, path: string): Promise<string | null> {
  const there = await tree.stat(path);
  if (there?.isSymbolicLink() === true) return await tree.readLink(path);
  if (there?.isFile() !== true) return null;
  const bytes = await tree.read(path, limits.diffFile.value);
  return bytes === null || bytes.subarray(0, 8192).includes(0) ? null : bytes.toString('utf8');
}
