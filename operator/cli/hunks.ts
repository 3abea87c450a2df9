import { GloveboxError, type SessionView } from '../../pure/contracts/index.ts';
import { escapeLines, escapeUntrusted } from '../../pure/render/index.ts';
import type { OperatorClient, RouteInput, RouteOutput } from '../client/index.ts';
import { readGuardedLine, type LineParts } from './terminal/guarded-line.ts';

export type HunkChoices = NonNullable<RouteInput<'applyChanges'>['body']['hunks']>;
type FileHunks = RouteOutput<'listHunks'>;

/** `PATH:1,3`: for scripts; the numbers are those of `glovebox diff --hunks PATH`. */
export async function readHunkOptions(
  client: OperatorClient,
  session: SessionView,
  options: readonly string[],
): Promise<HunkChoices> {
  const chosen: HunkChoices = [];
  for (const option of options) {
    const match = /^(.+):(\d{1,5}(?:,\d{1,5})*)$/.exec(option);
    if (match === null)
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: `--hunk ${option.slice(0, 100)}`,
        detail: 'it has the form PATH:NUMBERS, such as src/a.ts:1,3',
      });
    const [, path = '', numbers = ''] = match;
    const { digest } = await client.call('listHunks', { params: { id: session.id }, query: { path } });
    chosen.push({ path, digest, take: numbers.split(',').map(Number) });
  }
  return chosen;
}

const help = [
  'y  take this hunk',
  'n  leave it',
  'a  take it and the rest of this file',
  'd  leave it and the rest of this file',
  'q  leave everything from here on',
  '',
].join('\n');

/** Asks for each hunk of each file; a file of which all are taken is applied whole. Undefined: the person has left. */
export async function askHunks(
  client: OperatorClient,
  session: SessionView,
  paths: readonly string[],
  parts: LineParts,
  gone: AbortSignal,
): Promise<HunkChoices> {
  const chosen: HunkChoices = [];
  for (const path of paths) {
    const file = await client.call('listHunks', { params: { id: session.id }, query: { path } });
    const { take, left } = await askFile(file, parts, gone);
    if (take.length > 0) chosen.push({ path, digest: file.digest, take });
    if (left) break;
  }
  return chosen;
}

async function askFile(
  file: FileHunks,
  parts: LineParts,
  gone: AbortSignal,
): Promise<{ readonly take: number[]; readonly left: boolean }> {
  const take: number[] = [];
  const name = escapeUntrusted(file.path, 200);
  for (const [index, { number, text }] of file.hunks.entries()) {
    const rest = file.hunks.slice(index).map((hunk) => hunk.number);
    parts.write(`\n${name}, hunk ${number} of ${file.hunks.length}\n${escapeLines(text)}`);
    const word = await askWord(parts, gone);
    if (word === 'y') take.push(number);
    else if (word === 'a') return { take: [...take, ...rest], left: false };
    else if (word === 'd') return { take, left: false };
    else if (word === 'q') return { take, left: true };
  }
  return { take, left: false };
}

async function askWord(parts: LineParts, gone: AbortSignal): Promise<string> {
  for (;;) {
    parts.write('take it (y, n, a, d, q, or ? for help)? ');
    const answer = await readGuardedLine(parts, gone);
    const word = answer.kind === 'entered' ? answer.text.trim().toLowerCase() : 'q';
    if (['y', 'n', 'a', 'd', 'q'].includes(word)) return word;
    parts.write(help);
  }
}
