import { createTwoFilesPatch } from 'diff';
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

async function diffOne(change: Change, lower: Tree, upper: Tree): Promise<string> {
  const { path, kind } = change;
  const head = `diff --git a/${path} b/${path}\n`;
  if (kind === 'mode') return `${head}new mode ${(change.mode ?? 0).toString(8)}\n`;
  const before = kind === 'added' ? '' : await text(lower, path);
  const after = kind === 'deleted' ? '' : await text(upper, path);
  if (before === null || after === null || change.binary)
    return `${head}${kind}: not shown (no text, or larger than ${String(limits.diffFile.value)} bytes)\n`;
  const patch = createTwoFilesPatch(
    kind === 'added' ? '/dev/null' : `a/${path}`,
    kind === 'deleted' ? '/dev/null' : `b/${path}`,
    before,
    after,
    '',
    '',
  );
  return head + patch.split('\n').slice(1).join('\n');
}

/** A file's text; a link's target; null for what cannot be shown, folders among it. */
async function text(tree: Tree, path: string): Promise<string | null> {
  const there = await tree.stat(path);
  if (there?.isSymbolicLink() === true) return `link to ${await tree.readLink(path)}\n`;
  if (there?.isFile() !== true) return there?.isDirectory() === true ? '' : null;
  const bytes = await tree.read(path, limits.diffFile.value);
  return bytes === null || bytes.subarray(0, 8192).includes(0) ? null : bytes.toString('utf8');
}
