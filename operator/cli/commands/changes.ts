import { GloveboxError, type Change, type SessionView } from '../../../pure/contracts/index.ts';
import { escapeLines, escapeUntrusted } from '../../../pure/render/index.ts';
import type { OperatorClient, RouteOutput } from '../../client/index.ts';
import { applyAsking, applyText, isBelow } from '../changes.ts';
import { keepsChanges, readChangesWords } from '../changes-words.ts';
import { connect } from '../connect.ts';
import { askHunks, readHunkOptions, type HunkChoices } from '../hunks.ts';
import { print, printJson, styles, table } from '../output.ts';
import { sessionHere } from '../sessions.ts';
import { readGuardedLine } from '../terminal/guarded-line.ts';
import { personIsHere, personParts, type PersonParts } from '../terminal/question-parts.ts';

const listOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

export async function diff(id: string | undefined, options: Record<string, unknown>): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, keepsChanges, 'with staged changes');
  const params = { id: session.id };
  const json = options['json'] === true;
  if (typeof options['hunks'] === 'string') {
    const file = await client.call('listHunks', { params, query: { path: options['hunks'] } });
    if (json) printJson(file);
    else
      for (const { number, text } of file.hunks)
        print(`hunk ${number}\n${process.stdout.isTTY ? coloured(escapeLines(text)) : text}`);
  } else if (json) {
    printJson({ session: session.id, ...(await client.call('listChanges', { params })) });
  } else if (options['stat'] === true) {
    const { changes } = await client.call('listChanges', { params });
    const rows = changes.map((change) => [
      change.kind,
      change.path,
      change.sensitive ?? '',
      change.conflict ?? '',
    ]);
    process.stdout.write(table(['CHANGE', 'PATH', 'HOST TOOLS', 'CONFLICT'], rows, 120));
  } else {
    const text = (await client.call('diffChanges', { params })).diff;
    // The diff is the agent's text: a pipe gets it exactly, a terminal escaped.
    process.stdout.write(process.stdout.isTTY ? coloured(escapeLines(text)) : text);
  }
  return 0;
}

export function coloured(text: string): string {
  const { red, green, bold } = styles(process.stdout);
  return text
    .split('\n')
    .map((line) => {
      if (/^(diff |--- |\+\+\+ |@@ )/.test(line)) return bold(line);
      if (line.startsWith('+')) return green(line);
      return line.startsWith('-') ? red(line) : line;
    })
    .join('\n');
}

export async function apply(words: readonly string[], options: Record<string, unknown>): Promise<number> {
  const { client } = connect();
  const { session, paths } = await readChangesWords(client, words, listOf(options['path']));
  const json = options['json'] === true;
  const named = listOf(options['sensitive']);
  const hunks = await readHunkOptions(client, session, listOf(options['hunk']));
  const perHunk = options['hunks'] === true;
  // Only hunks are named: nothing else is meant.
  const wanted = paths ?? (hunks.length > 0 ? [] : undefined);
  if (!perHunk && (named.length > 0 || json || !personIsHere())) {
    const body = {
      ...(wanted === undefined ? {} : { paths: [...wanted] }),
      sensitive: named,
      ...(hunks.length === 0 ? {} : { hunks }),
    };
    const result = await client.call('applyChanges', { params: { id: session.id }, body });
    if (json) printJson(result);
    else process.stdout.write(applyText(result));
    return 0;
  }
  const { changes } = await client.call('listChanges', { params: { id: session.id } });
  const parts = personParts('name each sensitive file with --sensitive, and hunks with --hunk');
  try {
    const chosen = perHunk
      ? await chooseHunks(client, session, changes, paths, parts)
      : { paths: wanted, hunks };
    const result = await applyAsking(client, session, changes, chosen.paths, parts, parts.gone, chosen.hunks);
    parts.write(applyText(result));
  } finally {
    parts.restore();
  }
  return 0;
}

/** Modified text files by their hunks, everything else as a whole, one question each. */
async function chooseHunks(
  client: OperatorClient,
  session: SessionView,
  changes: readonly Change[],
  paths: readonly string[] | undefined,
  parts: PersonParts,
): Promise<{ readonly paths: string[]; readonly hunks: HunkChoices }> {
  const wanted = changes.filter((change) => isBelow(change.path, paths) && change.conflict === null);
  const byHunk = wanted.filter(({ kind, binary }) => kind === 'modified' && !binary);
  const hunks = await askHunks(
    client,
    session,
    byHunk.map(({ path }) => path),
    parts,
    parts.gone,
  );
  const whole: string[] = [];
  for (const change of wanted.filter((one) => !byHunk.includes(one))) {
    parts.write(
      `${change.kind} ${escapeUntrusted(change.path, 300)}: apply it? Write yes, anything else leaves it out: `,
    );
    const answer = await readGuardedLine(parts, parts.gone);
    if (answer.kind === 'gone' || answer.kind === 'interrupted') break;
    if (answer.text === 'yes') whole.push(change.path);
  }
  return { paths: whole, hunks };
}

export async function discard(words: readonly string[], yes: boolean, json: boolean): Promise<number> {
  const { client } = connect();
  const { session, paths } = await readChangesWords(client, words);
  if (!yes) {
    const what = paths === undefined ? 'the staged changes' : `${paths.length} of the staged changes`;
    const parts = personParts('add --yes');
    parts.write(`Throw ${what} of ${escapeUntrusted(session.name, 40)} away? Write yes: `);
    const answer = await readGuardedLine(parts, parts.gone);
    parts.restore();
    if (answer.kind !== 'entered' || answer.text !== 'yes')
      throw new GloveboxError('GB_USAGE', {
        detail: 'nothing was thrown away',
        hint: 'Write yes in full, or add --yes.',
      });
  }
  const params = { id: session.id };
  if (paths !== undefined) {
    const outcome = await client.call('discardPaths', { params, body: { paths: [...paths] } });
    if (json) printJson(outcome);
    else process.stdout.write(discardText(outcome));
    return outcome.discarded.length === 0 ? 66 : 0;
  }
  const after = await client.call('discardChanges', { params });
  if (json) printJson(after);
  else print(`The staged changes of ${after.name} are gone.`);
  return 0;
}

function discardText({ discarded, skipped }: RouteOutput<'discardPaths'>): string {
  const left = skipped.map(
    ({ path, why }) => `  left: ${escapeUntrusted(path, 200)}: ${escapeUntrusted(why, 200)}\n`,
  );
  return `glovebox: ${discarded.length} discarded\n${left.join('')}`;
}
