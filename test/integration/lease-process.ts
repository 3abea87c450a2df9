import process from 'node:process';
import { storeSetting } from '../../pure/contracts/index.ts';
import { openPostgresStore } from '../../trusted/store/index.ts';

/** Takes a lease and holds it until it is killed. */
const [setting = '', name = ''] = process.argv.slice(2);
const store = await openPostgresStore(storeSetting.parse(JSON.parse(setting)));
const lease = await store.replicas.tryTake(name);
process.stdout.write(lease === undefined ? 'refused\n' : 'held\n');
setInterval(() => undefined, 60_000);
