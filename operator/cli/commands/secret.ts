import { GloveboxError, limits, secretKinds, type SecretKind } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect, withDaemon } from '../connect.ts';
import type { SecretFlags } from '../secret-value.ts';
import { ago, print, printJson, table } from '../output.ts';
import { readHiddenLine } from '../terminal/hidden-line.ts';

const namePattern = /^[a-z][a-z0-9-]{0,63}$/;

export async function secret(
  what: string,
  name: string | undefined,
  options: Record<string, unknown>,
): Promise<number> {
  const json = options['json'] === true;
  if (what !== 'set' && setFlags.some((flag) => options[flag] !== undefined))
    throw new GloveboxError('GB_USAGE', {
      detail: `secret ${what} takes none of the flags of secret set`,
      hint: 'It is glovebox secret list, or glovebox secret rm NAME.',
    });
  switch (what) {
    case 'set':
      return set(checked(name), kindOf(options['kind']), flagsOf(options), json);
    case 'list':
      return list(json);
    case 'rm':
      return remove(checked(name), json);
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `secret ${what}`,
        hint: 'It is glovebox secret set NAME, glovebox secret list, or glovebox secret rm NAME.',
      });
  }
}

function checked(name: string | undefined): string {
  if (name !== undefined && namePattern.test(name)) return name;
  throw new GloveboxError('GB_INPUT_INVALID', {
    what: name === undefined ? 'The name of the secret' : `The name ${name.slice(0, 64)}`,
    detail:
      'it is lower-case letters, digits and dashes, and begins with a letter; the value is never an argument',
  });
}

const textFlags = [
  'tokenEndpoint',
  'clientId',
  'clientAuth',
  'scope',
  'accessKeyId',
  'appId',
  'installationId',
  'apiUrl',
  'caFile',
] as const;
const setFlags = ['kind', 'privateRange', ...textFlags] as const;

function kindOf(text: unknown): SecretKind {
  const kind = secretKinds.find((one) => one === (text ?? 'text'));
  if (kind !== undefined) return kind;
  throw new GloveboxError('GB_USAGE', {
    detail: `there is no secret of kind ${String(text).slice(0, 40)}`,
    hint: `The kinds are ${secretKinds.join(', ')}.`,
  });
}

const flagsOf = (options: Record<string, unknown>): SecretFlags => ({
  ...Object.fromEntries(
    textFlags.flatMap((name) => (typeof options[name] === 'string' ? [[name, options[name]]] : [])),
  ),
  privateRange: Array.isArray(options['privateRange']) ? (options['privateRange'] as string[]) : [],
});

/** The value goes from the keyboard or stdin into a seal for the secret broker; nothing else ever holds it in the clear. */
async function set(name: string, kind: SecretKind, flags: SecretFlags, json: boolean): Promise<number> {
  const { secretValue } = await import('../secret-value.ts');
  const value = await secretValue(kind, flags, {
    terminal: process.stdin.isTTY,
    ask: readHiddenLine,
    all: readStdin,
  });
  const connection = connect();
  const { client } = connection;
  const [{ jwk }, { seal }] = await Promise.all([
    withDaemon(connection, () => client.call('sealingKey', {})),
    import('../sealing.ts'),
  ]);
  const sealed = await seal({ name, kind, value }, jwk);
  const stored = await client.call('putSecret', { params: { id: name }, body: { sealed } });
  if (json) printJson(stored);
  else print(`Stored ${stored.name}.`);
  return 0;
}

/** All of stdin; the one line feed that `echo` or an editor ends it with is not part of the value. */
async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limits.secretValue.value)
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'secretValue',
        detail: `a value has at most ${limits.secretValue.value} bytes`,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

async function list(json: boolean): Promise<number> {
  const connection = connect();
  const found = await withDaemon(connection, () => connection.client.call('listSecrets', {}));
  if (json) printJson(found);
  else if (found.length === 0) print('No secret is stored; `glovebox secret set NAME` stores one.');
  else
    process.stdout.write(
      table(
        ['NAME', 'KIND', 'CHANGED'],
        found.map((one) => [one.name, one.kind, ago(one.updatedAt, Date.now())]),
      ),
    );
  return 0;
}

async function remove(name: string, json: boolean): Promise<number> {
  const connection = connect();
  const gone = await withDaemon(connection, () =>
    connection.client.call('removeSecret', { params: { id: name } }),
  );
  if (json) printJson(gone);
  else print(`Removed ${escapeUntrusted(gone.name, 64)}.`);
  return 0;
}
