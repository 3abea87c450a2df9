import type { GrantView } from '../../../pure/contracts/index.ts';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { connect } from '../connect.ts';
import { ago, print, printJson, table } from '../output.ts';

type Options = Record<string, unknown>;

/** What people granted to agents: `list`, `explain ID`, `revoke ID`. */
export async function grants(what: string, id: string | undefined, options: Options): Promise<number> {
  const { client } = connect();
  const json = options['json'] === true;
  switch (what) {
    case 'list':
      return await list(client, options, json);
    case 'explain':
      return await explain(client, await chosen(client, id, what, 'true'), json);
    case 'revoke': {
      const grant = await client.call('revokeGrant', {
        params: { id: (await chosen(client, id, what, 'false')).id },
      });
      if (json) printJson(grant);
      else print(`revoked: ${escapeUntrusted(grant.scope, 300)} of ${grant.user} in ${grant.sessionName}`);
      return 0;
    }
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `grants ${what}`,
        hint: 'It is list, explain ID or revoke ID.',
      });
  }
}

async function list(client: OperatorClient, options: Options, json: boolean): Promise<number> {
  const session = typeof options['session'] === 'string' ? options['session'] : undefined;
  const all = options['all'] === true;
  const found = await client.call('listGrants', { query: { session, all: all ? 'true' : 'false' } });
  if (json) {
    printJson(found);
    return 0;
  }
  if (found.length === 0) {
    print(all ? 'Nothing was ever granted.' : 'Nothing is granted; `glovebox grants --all` lists what was.');
    return 0;
  }
  const rows = found.map((grant) => [
    grant.id.slice(0, 8),
    grant.sessionName,
    grant.user,
    grant.scope,
    grant.mode,
    grant.state,
    ago(grant.createdAt, Date.now()),
  ]);
  process.stdout.write(table(['ID', 'SESSION', 'FOR', 'SCOPE', 'MODE', 'STATE', 'GRANTED'], rows, 80));
  return 0;
}

async function explain(client: OperatorClient, grant: GrantView, json: boolean): Promise<number> {
  const told = await client.call('explainGrant', { params: { id: grant.id } });
  if (json) {
    printJson(told);
    return 0;
  }
  const { question, covers, uses } = told;
  const text = (value: unknown): string => escapeUntrusted(typeof value === 'string' ? value : '-', 500);
  const rows: (readonly [string, string])[] = [
    ['scope', text(told.grant.scope)],
    ['allows', text(covers)],
    ['to', `session ${told.grant.sessionName}, in turns of ${told.grant.user}`],
    ['for', told.grant.mode === 'once' ? 'one use' : 'the rest of the session'],
    ['state', stateOf(told.grant)],
    ['granted', told.grant.createdAt],
    ['question', question === null ? '-' : `${question.id}, digest ${question.digest}`],
    ['arguments', text(question?.argumentsText)],
    ['in the agent’s words', text(question?.reason)],
  ];
  for (const [name, value] of rows) print(`${name.padEnd(21)} ${value}`);
  print(`${'used by'.padEnd(21)} ${uses.length === 0 ? 'nothing yet' : ''}`);
  for (const use of uses)
    print(`  ${text(use['time'])} ${text(use['operation'])} ${text(use['kind'])} ${text(use['outcome'])}`);
  return 0;
}

function stateOf(grant: GrantView): string {
  switch (grant.state) {
    case 'open':
      return grant.expiresAt === null ? 'open' : `open until ${grant.expiresAt}`;
    case 'used':
      return `used up at ${grant.usedAt ?? '-'}`;
    case 'revoked':
      return `revoked at ${grant.revokedAt ?? '-'}`;
    case 'expired':
      return `expired at ${grant.expiresAt ?? '-'}`;
  }
}

/** Only what is listed can be named: an id that an agent printed leads nowhere else. */
async function chosen(
  client: OperatorClient,
  id: string | undefined,
  what: string,
  all: 'true' | 'false',
): Promise<GrantView> {
  const found = (await client.call('listGrants', { query: { all } })).filter(
    (grant) => id !== undefined && id.length >= 4 && grant.id.startsWith(id),
  );
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  throw new GloveboxError('GB_NOT_FOUND', {
    what: id === undefined ? 'grant without its id' : `single ${all === 'true' ? '' : 'open '}grant ${id}`,
    detail: `\`glovebox grants\` lists them; then: glovebox grants ${what} ID`,
  });
}
