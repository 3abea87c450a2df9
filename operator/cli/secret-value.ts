import { readFile, stat } from 'node:fs/promises';
import { GloveboxError, limits, secretProblem, type SecretKind } from '../../pure/contracts/index.ts';
import { certificatesIn } from '../../pure/secrets/index.ts';

/** What a person says of a secret beside its value; nothing of it is secret. */
export interface SecretFlags {
  readonly tokenEndpoint?: string;
  readonly clientId?: string;
  readonly clientAuth?: string;
  readonly scope?: string;
  readonly accessKeyId?: string;
  readonly appId?: string;
  readonly installationId?: string;
  readonly apiUrl?: string;
  readonly caFile?: string;
  readonly privateRange: readonly string[];
}

/** Where the secret words come from: a terminal asks for each, anything else is read whole. */
export interface SecretInput {
  readonly terminal: boolean;
  readonly ask: (prompt: string) => Promise<string>;
  readonly all: () => Promise<string>;
}

const flagsOf: Record<SecretKind, readonly (keyof SecretFlags)[]> = {
  text: [],
  oauth: ['tokenEndpoint', 'clientId', 'clientAuth', 'scope', 'caFile', 'privateRange'],
  aws: ['accessKeyId'],
  'github-app': ['appId', 'installationId', 'apiUrl', 'caFile', 'privateRange'],
};
const spelled = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The value to be sealed, checked as the secret broker will check it, so that a mistake is said before anything is stored. */
export async function secretValue(kind: SecretKind, flags: SecretFlags, input: SecretInput): Promise<string> {
  for (const [name, value] of Object.entries(flags) as [keyof SecretFlags, unknown][]) {
    const given = Array.isArray(value) ? value.length > 0 : value !== undefined;
    if (given && !flagsOf[kind].includes(name))
      throw usage(`${spelled(name)} is not of a secret of kind ${kind}`);
  }
  const value =
    kind === 'text' ? await plainText(input) : JSON.stringify(await documentOf(kind, flags, input));
  if (value === '') throw new GloveboxError('GB_INPUT_INVALID', { what: 'The value', detail: 'it is empty' });
  const problem = secretProblem(kind, value);
  if (problem !== null)
    throw new GloveboxError('GB_INPUT_INVALID', { what: `The ${kind} secret`, detail: problem });
  return value;
}

const plainText = async ({ terminal, ask, all }: SecretInput): Promise<string> =>
  terminal ? await ask('The value (not shown): ') : await all();

async function documentOf(
  kind: Exclude<SecretKind, 'text'>,
  flags: SecretFlags,
  input: SecretInput,
): Promise<Record<string, unknown>> {
  if (kind === 'oauth') {
    const { tokenEndpoint, clientId, clientAuth, scope } = flags;
    return {
      tokenEndpoint: needed(kind, 'tokenEndpoint', tokenEndpoint),
      clientId: needed(kind, 'clientId', clientId),
      ...given({ clientAuth, scope }),
      ...(await words(input, [
        ['refreshToken', 'The refresh token (not shown): ', ['refresh_token']],
        ['clientSecret', 'The client secret (not shown; empty: none): ', ['client_secret']],
      ])),
      ...(await reach(flags)),
    };
  }
  if (kind === 'aws') {
    const found = await words(input, [
      ['secretAccessKey', 'The secret access key (not shown): ', ['SecretAccessKey']],
      ['sessionToken', 'The session token (not shown; empty: none): ', ['SessionToken']],
      ['accessKeyId', null, ['AccessKeyId']],
    ]);
    return { ...found, accessKeyId: needed(kind, 'accessKeyId', flags.accessKeyId ?? found['accessKeyId']) };
  }
  const { appId, installationId, apiUrl } = flags;
  if (input.terminal)
    throw usage('the private key of an app has many lines: give its file, as in `… < key.pem`');
  return {
    appId: needed(kind, 'appId', appId),
    installationId: needed(kind, 'installationId', installationId),
    ...given({ apiUrl }),
    privateKey: `${await input.all()}\n`,
    ...(await reach(flags)),
  };
}

/** Piped: a JSON object, as other tools print it, or the first word alone. */
async function words(
  { terminal, ask, all }: SecretInput,
  fields: readonly (readonly [name: string, prompt: string | null, aliases: readonly string[]])[],
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  if (terminal) {
    for (const [name, prompt] of fields) {
      const word = prompt === null ? '' : await ask(prompt);
      if (word !== '') found[name] = word;
    }
    return found;
  }
  const text = (await all()).trim();
  if (!text.startsWith('{')) return { [fields[0]?.[0] ?? '']: text };
  let object: Record<string, unknown>;
  try {
    object = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The value',
      detail: 'it begins as JSON and is none',
    });
  }
  for (const [name, , aliases] of fields) {
    const word = [name, ...aliases].map((key) => object[key]).find((value) => typeof value === 'string');
    if (typeof word === 'string' && word !== '') found[name] = word;
  }
  return found;
}

async function reach({ caFile, privateRange }: SecretFlags): Promise<Record<string, unknown>> {
  if (caFile === undefined) return { privateRanges: privateRange };
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: `The authority file ${caFile}`, detail });
  const size = await stat(caFile).then(
    (file) => file.size,
    () => {
      throw refuse('it cannot be read');
    },
  );
  if (size > limits.secretValue.value) throw refuse('it is too large');
  const ca = certificatesIn(await readFile(caFile, 'utf8'));
  if (ca === null) throw refuse('it holds no certificate');
  return { ca, privateRanges: privateRange };
}

function needed(kind: SecretKind, name: keyof SecretFlags, value: string | undefined): string {
  if (value !== undefined && value !== '') return value;
  throw usage(`a secret of kind ${kind} needs ${spelled(name)}`);
}

const given = (values: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );

const usage = (detail: string): GloveboxError =>
  new GloveboxError('GB_USAGE', {
    detail,
    hint: '`glovebox secret --help` has an example for each kind; secret values are read from stdin or asked for.',
  });
