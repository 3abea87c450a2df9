import { GloveboxError, tokenScopes, type TokenScope } from '../../../pure/contracts/index.ts';
import { parseDuration } from '../../../pure/policy/index.ts';
import { connect } from '../connect.ts';
import { print, printJson, table } from '../output.ts';

type Options = Record<string, unknown>;
const usage = (detail: string, hint: string): GloveboxError =>
  new GloveboxError('GB_USAGE', { detail, hint });

/** Tokens for programs: `create NAME`, `list`, `revoke ID`. */
export async function token(what: string, name: string | undefined, options: Options): Promise<number> {
  const { client } = connect();
  const json = options['json'] === true;
  switch (what) {
    case 'create': {
      if (name === undefined)
        throw usage('token create', 'A name is needed: glovebox token create ci --scope read');
      const expires = typeof options['expires'] === 'string' ? options['expires'] : '30d';
      const made = await client.call('createToken', {
        body: { name, scopes: scopesOf(options['scope']), expiresInSeconds: secondsOf(expires) },
      });
      if (json) printJson(made);
      else {
        process.stderr.write(`Shown once; until ${made.view.expiresAt}. It cannot grant anything.\n`);
        print(made.token);
      }
      return 0;
    }
    case 'list': {
      const found = await client.call('listTokens', {});
      if (json) printJson(found);
      else if (found.length === 0) print('There are no tokens.');
      else {
        const rows = found.map((one) => [
          one.id.slice(0, 8),
          one.name,
          one.user,
          one.scopes.join(', '),
          one.state,
          one.expiresAt,
        ]);
        process.stdout.write(table(['ID', 'NAME', 'OF', 'SCOPES', 'STATE', 'EXPIRES'], rows));
      }
      return 0;
    }
    case 'revoke': {
      const found = (await client.call('listTokens', {})).filter(
        ({ id }) => name !== undefined && name.length >= 4 && id.startsWith(name),
      );
      const [first] = found;
      if (first === undefined || found.length > 1)
        throw new GloveboxError('GB_NOT_FOUND', {
          what: 'single token of that id',
          detail: '`glovebox token list` has them',
        });
      const revoked = await client.call('revokeToken', { params: { id: first.id } });
      if (json) printJson(revoked);
      else print(`revoked: ${revoked.name}`);
      return 0;
    }
    default:
      throw usage(`token ${what}`, 'It is create NAME, list or revoke ID.');
  }
}

function scopesOf(given: unknown): TokenScope[] {
  const words = Array.isArray(given) ? (given as unknown[]) : [];
  const scopes = words.map((word) => tokenScopes.find((scope) => scope === word));
  if (scopes.length === 0 || scopes.includes(undefined))
    throw usage('--scope', `Each --scope is one of ${tokenScopes.join(', ')}; none of them can grant.`);
  return scopes.filter((scope) => scope !== undefined);
}

function secondsOf(text: string): number {
  const days = /^([1-9][0-9]{0,3})d$/.exec(text)?.[1];
  const seconds = days === undefined ? parseDuration(text) : Number(days) * 86_400;
  if (seconds === null) throw usage('--expires', 'A duration is a number and s, m, h or d, such as 30d.');
  return seconds;
}
