import type { Change, SessionView } from '../../../pure/contracts/index.ts';
import { escapeLines, escapeUntrusted } from '../../../pure/render/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { applyAsking, applyText } from '../changes.ts';
import { note, styles } from '../output.ts';
import { readGuardedLine, systemClock, type LineParts } from '../terminal/guarded-line.ts';
import { TerminalInput } from '../terminal/terminal-input.ts';
import type { LocalEnds } from './session-io.ts';

const shownFiles = 20;

export function changesLine(changes: readonly Change[], truncated: boolean): string {
  const count = (kind: Change['kind']): number => changes.filter((change) => change.kind === kind).length;
  const kinds = (['added', 'modified', 'deleted', 'mode', 'type'] as const)
    .filter((kind) => count(kind) > 0)
    .map((kind) => `${count(kind)} ${kind}`);
  return `${changes.length}${truncated ? '+' : ''} staged change${changes.length === 1 ? '' : 's'} (${kinds.join(', ')})`;
}

/** At the end of a run: what is staged, and, at a terminal, what to do with it. Nothing is a default but keeping it (R48). */
export async function changesAtEnd(
  client: OperatorClient,
  session: SessionView,
  ends: LocalEnds,
  ask: boolean,
): Promise<void> {
  if (session.changes !== 'kept') return;
  const { changes, truncated } = await client.call('listChanges', { params: { id: session.id } });
  if (changes.length === 0) return;
  const line = changesLine(changes, truncated);
  if (!ask) {
    note(
      `${line}; see them with: glovebox diff ${session.name}; then: glovebox apply|discard ${session.name}`,
    );
    return;
  }
  const { bold, yellow, dim } = styles(ends.stderr);
  const write = (text: string): void => void ends.stderr.write(text.replaceAll('\n', '\r\n'));
  write(`\n${bold(`glovebox: ${line}`)}\n`);
  for (const change of changes.slice(0, shownFiles)) {
    const mark = change.sensitive === null ? '' : yellow(`  (${escapeUntrusted(change.sensitive, 60)})`);
    const conflict =
      change.conflict === null ? '' : yellow(`  conflict: ${escapeUntrusted(change.conflict, 80)}`);
    write(`  ${change.kind.padEnd(9)}${escapeUntrusted(change.path, 200)}${mark}${conflict}\n`);
  }
  if (changes.length > shownFiles) write(dim(`  and ${changes.length - shownFiles} more\n`));
  const input = new TerminalInput(ends.stdin, () => gone.abort());
  const gone = new AbortController();
  try {
    await decide(client, session, { input, clock: systemClock, write }, gone.signal, changes);
  } finally {
    input.restore();
  }
}

async function decide(
  client: OperatorClient,
  session: SessionView,
  parts: LineParts,
  gone: AbortSignal,
  changes: readonly Change[],
): Promise<void> {
  const params = { id: session.id };
  for (;;) {
    parts.write('diff, apply, keep or discard? ');
    const answer = await readGuardedLine(parts, gone);
    const word = answer.kind === 'entered' ? answer.text.toLowerCase() : 'keep';
    if (word === 'diff') {
      const { diff } = await client.call('diffChanges', { params });
      parts.write(escapeLines(diff));
    } else if (word === 'apply') {
      const result = await applyAsking(client, session, changes, undefined, parts, gone);
      return parts.write(applyText(result));
    } else if (word === 'discard') {
      await client.call('discardChanges', { params });
      return parts.write('glovebox: discarded\n');
    } else if (word === 'keep') {
      return parts.write(`glovebox: kept; later: glovebox diff|apply|discard ${session.name}\n`);
    } else parts.write('Please write one of these words out.\n');
  }
}
