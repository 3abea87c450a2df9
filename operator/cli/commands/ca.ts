import { GloveboxError, type AuthorityView } from '../../../pure/contracts/index.ts';
import { connect, withDaemon } from '../connect.ts';
import { print, printJson, table } from '../output.ts';

export async function ca(
  what: string,
  who: string | undefined,
  root: boolean,
  json: boolean,
): Promise<number> {
  const connection = connect();
  const { client } = connection;
  if (what === 'show' && who === undefined) {
    show(await withDaemon(connection, () => client.call('getAuthority', {})), json);
    return 0;
  }
  if (what === 'rotate' && who === undefined) {
    const body = { what: root ? ('root' as const) : ('issuing' as const) };
    show(await withDaemon(connection, () => client.call('rotateAuthority', { body })), json);
    return 0;
  }
  if (what === 'revoke' && who !== undefined) return revoke(who, json);
  throw new GloveboxError('GB_USAGE', {
    detail: `ca ${what}${what === 'revoke' ? ' without an identity' : ''}`,
    hint: 'It is glovebox ca show, glovebox ca rotate [--root], or glovebox ca revoke IDENTITY.',
  });
}

/** An identity, or a session: then its gateway is meant, and the session ends with it. */
async function revoke(who: string, json: boolean): Promise<number> {
  const { client } = connect();
  let identity = who;
  if (!who.startsWith('spiffe://')) {
    const [{ trustDomain }, session] = await Promise.all([
      client.call('getAuthority', {}),
      client.call('getSession', { params: { id: who } }),
    ]);
    identity = `spiffe://${trustDomain}/session/${session.id}/sidecar`;
  }
  const answer = await client.call('revokeIdentity', { body: { identity } });
  if (json) printJson(answer);
  else
    print(
      `${answer.identity}: ${answer.certificates} certificates are revoked, and what was open under them.`,
    );
  return 0;
}

function show(view: AuthorityView, json: boolean): void {
  if (json) return printJson(view);
  const rows = [
    ...view.roots.map(({ role, ...one }) => [`root (${role})`, one] as const),
    ['issuing', view.issuing] as const,
  ].map(([name, one]) => [name, one.fingerprint, one.notAfter.slice(0, 10)]);
  print(table([view.trustDomain, 'SHA-256', 'ends'], rows, 64).trimEnd());
  if (view.rotation !== null) print(`\n${words[view.rotation.next]}, at ${view.rotation.at}.`);
}

const words = {
  activate: 'The next root is announced: it signs once everybody trusts it',
  retire: 'The next root signs: the previous one is dropped once nothing of it is left',
} as const;
