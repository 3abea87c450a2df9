import { z } from 'zod';
import { GloveboxError } from './errors.ts';

/** What `glovebox up --store` leaves in the state folder (`store.json`): where the store is, and where its password lies. */
export const storeSetting = z.strictObject({
  version: z.literal(1),
  url: z.string().min(1).max(2048),
  passwordFile: z.string().startsWith('/').max(4096).nullable(),
});
export type StoreSetting = z.infer<typeof storeSetting>;

/** Its name in the state folder. */
export const storeSettingFile = 'store.json';

export interface PostgresPlace {
  /** A name or address, or the absolute folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string | undefined;
  /** Files in PEM form. Undefined on a Unix socket, and there alone. */
  readonly tls:
    | { readonly ca: string | undefined; readonly cert: string | undefined; readonly key: string | undefined }
    | undefined;
}

const parameters = ['host', 'port', 'user', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'];

/**
 * `postgresql:///DATABASE?host=/SOCKET/FOLDER` or `postgresql://USER@HOST/DATABASE?sslmode=verify-full[&sslrootcert=FILE]
 * [&sslcert=FILE&sslkey=FILE]`. No password, since everybody sees a command line; over TCP the server is always verified, since
 * whoever answers in its place would be shown the password and trusted with the trail.
 */
export function parseStoreUrl(text: string): PostgresPlace {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse('it is no URL; it looks like postgresql:///glovebox?host=/run/postgresql');
  }
  if (url.protocol !== 'postgresql:' && url.protocol !== 'postgres:') throw refuse('it is not postgresql://');
  if (url.password !== '') throw refuse('a password in it is seen by everybody: use --store-password-file');
  for (const name of url.searchParams.keys()) {
    if (!parameters.includes(name)) throw refuse(`${name} is none of ${parameters.join(', ')}`);
    if (url.searchParams.getAll(name).length > 1) throw refuse(`${name} is there twice`);
  }
  const given = (name: string): string | undefined => url.searchParams.get(name) ?? undefined;
  const host = url.hostname === '' ? given('host') : decoded(url.hostname).replace(/^\[|\]$/g, '');
  if (host === undefined || host === '') throw refuse('it names no host and no folder of a Unix socket');
  if (url.hostname !== '' && given('host') !== undefined) throw refuse('it names two hosts');
  const database = decoded(url.pathname.slice(1));
  if (!/^[\w$-]{1,63}$/.test(database)) throw refuse('it names no database');
  const port = Number(url.port === '' ? (given('port') ?? '5432') : url.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw refuse('its port is none');
  const user = url.username === '' ? given('user') : decoded(url.username);
  return { host, port, database, user, tls: tlsOf(host.startsWith('/'), given) };
}

function tlsOf(socket: boolean, given: (name: string) => string | undefined): PostgresPlace['tls'] {
  const [mode, ca, cert, key] = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey'].map(given);
  if (socket) {
    if ([mode, ca, cert, key].some((one) => one !== undefined)) throw refuse('a Unix socket has no TLS');
    return undefined;
  }
  if (mode !== 'verify-full')
    throw refuse('over TCP it needs sslmode=verify-full, which proves who the server is');
  for (const file of [ca, cert, key]) {
    if (file !== undefined && !file.startsWith('/')) throw refuse(`${file} is no absolute path`);
  }
  if ((cert === undefined) !== (key === undefined)) throw refuse('sslcert and sslkey belong together');
  return { ca, cert, key };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse('it has an escape that means nothing');
  }
}

const refuse = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The address of the store', detail });
