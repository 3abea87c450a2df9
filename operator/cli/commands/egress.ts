import { setTimeout as delay } from 'node:timers/promises';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';
import { requestsOf, type EgressEntry } from '../egress-records.ts';
import { print, printJson, table } from '../output.ts';
import { isLive, sessionHere } from '../sessions.ts';

type Options = Readonly<Record<string, unknown>>;

export async function egress(what: string, target: string | undefined, options: Options): Promise<number> {
  switch (what) {
    case 'log':
      return log(target, options);
    case 'explain':
      return (await import('./egress-explain.ts')).explainUrl(target, options);
    case 'suggest':
      return (await import('./egress-suggest.ts')).suggestRules(target, options);
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `egress ${what}`,
        hint: 'It is glovebox egress log [SESSION], explain URL, or suggest [SESSION].',
      });
  }
}

/** How often a log that is followed asks for what is new. */
const interval = 500;

async function log(id: string | undefined, options: Options): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, () => true, 'that was ever run');
  const json = options['json'] === true;
  const follow = options['follow'] === true;
  const from = { after: 0 };
  const wanted = async (): Promise<readonly EgressEntry[]> =>
    (await requestsOf(client, session.id, from)).filter(
      ({ decision }) => options['denied'] !== true || decision !== 'allow',
    );
  const first = await wanted();
  if (!follow) {
    if (json) printJson(first);
    else if (first.length === 0) print('There are no such requests.');
    else process.stdout.write(table(head, first.map(rowOf), 80));
    return 0;
  }
  // Lines as they come: columns would need what is still to come.
  const show = (entries: readonly EgressEntry[]): void => {
    for (const entry of entries)
      if (json) process.stdout.write(`${JSON.stringify(entry)}\n`);
      else
        print(
          rowOf(entry)
            .map((cell) => escapeUntrusted(cell, 200))
            .join('  '),
        );
  };
  show(first);
  for (;;) {
    const over = !isLive(await client.call('getSession', { params: { id: session.id } }));
    show(await wanted());
    if (over || process.stdout.destroyed) return 0;
    await delay(interval);
  }
}

const head = [
  'TIME (UTC)',
  'DECISION',
  'OUTCOME',
  'METHOD',
  'URL',
  'RULE',
  'STATUS',
  'ADDRESS',
  'SENT',
  'RECEIVED',
  'MS',
  'USER',
];

const rowOf = (entry: EgressEntry): string[] => [
  entry.time.replace('T', ' ').slice(0, 19),
  entry.decision,
  entry.outcome,
  entry.method,
  entry.url,
  entry.rule,
  ...[entry.status, entry.address, entry.sent, entry.received, entry.ms].map((value) => String(value ?? '-')),
  entry.user ?? '-',
];
