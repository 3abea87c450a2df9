import { lstat, readFile } from 'node:fs/promises';
import type { ClientConfig } from 'pg';
import { GloveboxError, limits, parseStoreUrl, type StoreSetting } from '../../../pure/contracts/index.ts';

/** Said to the server for each connection: no statement waits for ever, and nobody else's schema comes first. */
const startup = [
  '-c default_transaction_isolation=read\\ committed',
  `-c statement_timeout=${limits.storeStatement.value}`,
  `-c idle_in_transaction_session_timeout=${limits.storeStatement.value}`,
  '-c search_path=public',
  // Where the network falls silent a replica's leases are free after half a minute.
  '-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3',
].join(' ');

/** How to connect. The password is read from its file each time, so that it can be changed there. */
export async function loginOf(setting: StoreSetting): Promise<ClientConfig> {
  const place = parseStoreUrl(setting.url);
  const { passwordFile } = setting;
  const { tls } = place;
  if (passwordFile !== null) await passwordIn(passwordFile);
  return {
    host: place.host,
    port: place.port,
    database: place.database,
    // node-postgres takes what is not given from PGUSER, PGPASSWORD and ~/.pgpass: nothing comes from there.
    user: place.user ?? (await ownName()),
    password: passwordFile === null ? () => '' : async () => await passwordIn(passwordFile),
    ssl:
      tls === undefined
        ? false
        : {
            rejectUnauthorized: true,
            minVersion: 'TLSv1.2',
            ...(tls.ca === undefined ? {} : { ca: await readFile(tls.ca) }),
            ...(tls.cert === undefined ? {} : { cert: await readFile(tls.cert) }),
            ...(tls.key === undefined ? {} : { key: await readFile(tls.key) }),
          },
    application_name: 'glovebox',
    connectionTimeoutMillis: limits.storeConnect.value,
    keepAlive: true,
    options: startup,
  };
}

/** As libpq does where no user is named: that of the process. */
async function ownName(): Promise<string> {
  const { userInfo } = await import('node:os');
  return userInfo().username;
}

async function passwordIn(file: string): Promise<string> {
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_STATE_REFUSED', {
      path: file,
      detail,
      todo: `It is a file of yours: chmod 600 ${file}`,
    });
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined || !found.isFile()) throw refuse('it is no file');
  if (found.uid !== process.getuid?.()) throw refuse(`it belongs to uid ${found.uid}`);
  if ((found.mode & 0o077) !== 0) throw refuse(`its mode ${(found.mode & 0o777).toString(8)} lets others in`);
  return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
}
