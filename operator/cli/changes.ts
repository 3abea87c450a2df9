import type { Change, SessionView } from '../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../pure/render/index.ts';
import type { OperatorClient, RouteOutput } from '../client/index.ts';
import type { HunkChoices } from './hunks.ts';
import { readGuardedLine, type LineParts } from './terminal/guarded-line.ts';

type Applied = RouteOutput<'applyChanges'>;

/** Applies the changes; what host tools would obey unasked is asked for, one file at a time, by name (R48). */
export async function applyAsking(
  client: OperatorClient,
  session: SessionView,
  changes: readonly Change[],
  paths: readonly string[] | undefined,
  parts: LineParts,
  gone: AbortSignal,
  hunks: HunkChoices = [],
): Promise<Applied> {
  const sensitive: string[] = [];
  const inPart = new Set(hunks.map(({ path }) => path));
  const wanted = changes.filter((change) => inPart.has(change.path) || isBelow(change.path, paths));
  for (const change of wanted) {
    if (change.sensitive === null) continue;
    const name = escapeUntrusted(change.path, 300);
    parts.write(`\n${name}: ${escapeUntrusted(change.sensitive, 200)}.\n`);
    parts.write(`apply it too? Write yes, anything else leaves it out: `);
    const answer = await readGuardedLine(parts, gone);
    if (answer.kind === 'entered' && answer.text === 'yes') sensitive.push(change.path);
  }
  return client.call('applyChanges', {
    params: { id: session.id },
    body: {
      ...(paths === undefined ? {} : { paths: [...paths] }),
      sensitive,
      ...(hunks.length === 0 ? {} : { hunks }),
    },
  });
}

export const isBelow = (path: string, roots: readonly string[] | undefined): boolean =>
  roots === undefined ||
  roots.some((root) => path === root || path.startsWith(`${root.replace(/\/$/, '')}/`));

export function applyText(result: Applied): string {
  const skipped = result.skipped.map(
    ({ path, why }) => `  left out: ${escapeUntrusted(path, 200)}: ${escapeUntrusted(why, 200)}\n`,
  );
  return `glovebox: ${result.applied.length} applied\n${skipped.join('')}`;
}
