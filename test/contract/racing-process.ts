import { once } from 'node:events';
import process from 'node:process';
import { asSessionId, asUserId, storeSetting } from '../../pure/contracts/index.ts';
import { openPostgresStore } from '../../trusted/store/index.ts';

/** One of several processes on one database: says that it is ready, and begins when it is told to. Prints how many times it won. */
const [setting = '', race = '', name = '', times = ''] = process.argv.slice(2);
const store = await openPostgresStore(storeSetting.parse(JSON.parse(setting)));
const at = '2026-11-01T00:00:00.000Z';

async function attempt(): Promise<boolean> {
  if (race === 'join') return (await store.identity.consumeHash(name)).state === 'fresh';
  if (race !== 'grant') throw new RangeError(race);
  const key = { sessionId: asSessionId(name), user: asUserId('local/1000'), scope: 'files:write:/shared/a' };
  return (await store.grants.use(key, at)) !== undefined;
}

// Connections first: what is raced is the use, not the login.
await Promise.all(Array.from({ length: Number(times) }, async () => await store.audit.lastSeq()));
process.stdout.write('ready\n');
await once(process.stdin, 'data');
const won = await Promise.all(Array.from({ length: Number(times) }, attempt));
process.stdout.write(`won ${won.filter(Boolean).length}\n`);
await store.close();
process.exit(0);
