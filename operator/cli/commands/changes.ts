import { GloveboxError, type SessionView } from '../../../pure/contracts/index.ts';
import { escapeLines, escapeUntrusted } from '../../../pure/render/index.ts';
import { applyAsking, applyText } from '../changes.ts';
import { connect } from '../connect.ts';
import { print, printJson, styles, table } from '../output.ts';
import { sessionHere } from '../sessions.ts';
import { readGuardedLine } from '../terminal/guarded-line.ts';
import { personIsHere, personParts } from '../terminal/question-parts.ts';

const keepsChanges = (session: SessionView): boolean => session.changes === 'kept';
const listOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

export async function diff(id: string | undefined, stat: boolean, json: boolean): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, keepsChanges, 'with staged changes');
  const params = { id: session.id };
  if (json) {
    printJson({ session: session.id, ...(await client.call('listChanges', { params })) });
  } else if (stat) {
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

export async function apply(id: string | undefined, options: Record<string, unknown>): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, keepsChanges, 'with staged changes');
  const params = { id: session.id };
  const paths = listOf(options['path']);
  const wanted = paths.length === 0 ? undefined : paths;
  const named = listOf(options['sensitive']);
  const asks = named.length === 0 && options['json'] !== true && personIsHere();
  if (!asks) {
    const body = { ...(wanted === undefined ? {} : { paths: wanted }), sensitive: named };
    const result = await client.call('applyChanges', { params, body });
    if (options['json'] === true) printJson(result);
    else process.stdout.write(applyText(result));
    return 0;
  }
  const { changes } = await client.call('listChanges', { params });
  const parts = personParts('name each sensitive file with --sensitive');
  try {
    parts.write(applyText(await applyAsking(client, session, changes, wanted, parts, parts.gone)));
  } finally {
    parts.restore();
  }
  return 0;
}

export async function discard(id: string | undefined, yes: boolean, json: boolean): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, keepsChanges, 'with staged changes');
  if (!yes) {
    const parts = personParts('add --yes');
    parts.write(`Throw the staged changes of ${escapeUntrusted(session.name, 40)} away? Write yes: `);
    const answer = await readGuardedLine(parts, parts.gone);
    parts.restore();
    if (answer.kind !== 'entered' || answer.text !== 'yes')
      throw new GloveboxError('GB_USAGE', {
        detail: 'nothing was thrown away',
        hint: 'Write yes in full, or add --yes.',
      });
  }
  const after = await client.call('discardChanges', { params: { id: session.id } });
  if (json) printJson(after);
  else print(`The staged changes of ${after.name} are gone.`);
  return 0;
}
