import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { isUp, startDaemon } from '../daemon.ts';
import { print, printJson } from '../output.ts';
import { productVersion } from '../places.ts';
import { endDaemon, runningSessions } from '../stop-daemon.ts';

/**
 * From the control plane of another version to this one's. Sessions do not outlive their control plane, so none is ended unasked.
 * The state is copied by its owner before a migration changes it, however the new version is started.
 */
export async function upgrade(endSessions: boolean, json: boolean): Promise<number> {
  const { places, client } = connect();
  const version = productVersion();
  const before = (await isUp(places)) ? (await client.call('health', {})).version : null;
  if (before !== null) {
    const running = await runningSessions(client);
    if (running.length > 0 && !endSessions)
      throw new GloveboxError('GB_SESSION_STATE', {
        state: `running: ${running.map(({ name }) => name).join(', ')}`,
        operation: 'upgrade',
        needed: 'ended (`glovebox stop`, or --end-sessions; staged changes are kept)',
      });
    await endDaemon(client);
  }
  const folder = join(places.state, 'backups');
  const copies = (): string[] => (existsSync(folder) ? readdirSync(folder) : []);
  const known = new Set(copies());
  await startDaemon(places, process.env);
  const made = copies()
    .filter((name) => !known.has(name))
    .map((name) => join(folder, name));
  if (json) printJson({ from: before, to: version, backups: made });
  else {
    print(
      `The control plane of Glovebox ${version} is running${before === null ? '' : ` (it was ${before})`}.`,
    );
    for (const copy of made) print(`The state was migrated; as it was before, it is kept in ${copy}.`);
  }
  return 0;
}
