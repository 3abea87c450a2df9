import { createHash } from 'node:crypto';
import { applyPatch, structuredPatch, type StructuredPatch } from 'diff';
import { GloveboxError, limits, type Change } from '../../pure/contracts/index.ts';
import { listChanges, type Staged } from './list.ts';
import { Tree } from './tree.ts';

/** Hunks of one file that a person chose, among those whose digest they were shown. */
export interface HunkChoice {
  readonly path: string;
  readonly digest: string;
  /** Numbers from 1, as `hunksOf` gives them. */
  readonly take: readonly number[];
}

export interface FileHunks {
  readonly path: string;
  /** Of both texts: what was shown is what is applied, or nothing is. */
  readonly digest: string;
  readonly hunks: readonly { readonly number: number; readonly text: string }[];
}

interface Compared {
  readonly before: string;
  readonly digest: string;
  readonly patch: StructuredPatch;
}

/** The hunks of one modified text file. */
export async function hunksOf(staged: Staged, path: string): Promise<FileHunks> {
  const { changes } = await listChanges(staged);
  const change = changes.find((one) => one.path === path);
  if (change === undefined)
    throw new GloveboxError('GB_NOT_FOUND', { what: `staged change ${path}`, detail: 'see `glovebox diff`' });
  const compared = await compare(staged, change);
  if (typeof compared === 'string')
    throw new GloveboxError('GB_INPUT_INVALID', { what: `The file ${path}`, detail: compared });
  return {
    path,
    digest: compared.digest,
    hunks: compared.patch.hunks.map((hunk, index) => ({
      number: index + 1,
      text: shown(
        `@@ -${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@\n${hunk.lines.join('\n')}\n`,
      ),
    })),
  };
}

/** The host's file with these hunks in it; in words, why not. The bytes are exact: a file need not be UTF-8. */
export async function withHunks(
  staged: Staged,
  change: Change,
  choice: HunkChoice,
): Promise<{ readonly bytes: Buffer; readonly all: boolean } | string> {
  const compared = await compare(staged, change);
  if (typeof compared === 'string') return compared;
  const { before, digest, patch } = compared;
  if (digest !== choice.digest) return 'it is not what it was when its hunks were shown';
  if (choice.take.some((number) => patch.hunks[number - 1] === undefined)) return 'it has no such hunk';
  const wanted = new Set(choice.take);
  const hunks = patch.hunks.filter((_, index) => wanted.has(index + 1));
  const text = applyPatch(before, { ...patch, hunks }, { fuzzFactor: 0, autoConvertLineEndings: false });
  if (text === false) return 'its hunks do not fit';
  return { bytes: Buffer.from(text, 'latin1'), all: hunks.length === patch.hunks.length };
}

/** One character for each byte, so that what is written back is what was read, whatever its encoding. */
async function compare(staged: Staged, change: Change): Promise<Compared | string> {
  if (change.kind !== 'modified') return `it is ${change.kind}, and has no hunks`;
  const limit = limits.diffFile.value;
  const read = async (folder: string): Promise<Buffer | null> =>
    await new Tree(folder).read(change.path, limit).catch(() => null);
  const [was, is] = await Promise.all([read(staged.lower), read(staged.upper)]);
  if (was === null || is === null || was.includes(0) || is.includes(0))
    return `it is no text, or larger than ${limit} bytes`;
  const [before, after] = [was.toString('latin1'), is.toString('latin1')];
  const patch = boundedPatch(change.path, change.path, before, after);
  if (patch === undefined) return 'too much of it has changed to be shown in hunks';
  const digest = createHash('sha256').update(`${was.length}\n`).update(was).update(is).digest('hex');
  return { before, digest, patch };
}

/** Comparing two texts can take as long as their lengths multiplied, and both may be an agent's: it is given up in time. */
export const boundedPatch = (
  oldName: string,
  newName: string,
  before: string,
  after: string,
): StructuredPatch | undefined =>
  structuredPatch(oldName, newName, before, after, '', '', {
    context: 3,
    maxEditLength: limits.diffEdits.value,
  });

export const shown = (latin1: string): string => Buffer.from(latin1, 'latin1').toString('utf8');
