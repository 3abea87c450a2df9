import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { promisify } from 'node:util';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { isUp } from '../daemon.ts';
import { note, print, printJson } from '../output.ts';
import { distFolder, type Environment, type Places } from '../places.ts';
import { endDaemon, runningSessions } from '../stop-daemon.ts';

interface Left {
  readonly path: string;
  readonly what: string;
  /** Goes with --purge; what the person wrote, and the program itself, do not. */
  readonly purged: boolean;
}

function left(places: Places, env: Environment): readonly Left[] {
  const given = env['XDG_CACHE_HOME'];
  const cache = join(
    given !== undefined && isAbsolute(given) ? given : join(homedir(), '.cache'),
    'glovebox',
  );
  const all: readonly Left[] = [
    {
      path: places.state,
      what: 'sessions, staged changes, audit trail, keys and stored secrets',
      purged: true,
    },
    { path: places.runtime, what: 'the folder of the socket', purged: true },
    { path: places.config, what: 'your configuration', purged: false },
    { path: cache, what: 'tools that were built, shared with other checkouts', purged: false },
    {
      path: dirname(distFolder().replace(/\/$/, '')),
      what: 'the program (npm uninstall -g glovebox)',
      purged: false,
    },
  ];
  return all.filter(
    ({ path }, index) => existsSync(path) && all.findIndex((one) => one.path === path) === index,
  );
}

/** Leaves nothing running, and says what else there is. `--purge` removes the state, by a word that nobody types by accident. */
export async function uninstall(options: Record<string, unknown>): Promise<number> {
  const { places, client } = connect();
  const json = options['json'] === true;
  const purge = options['purge'] === true;
  const running = await isUp(places);
  const kept = running ? await keptChanges(client) : [];
  if (purge) await confirm(options['confirm'], kept);
  if (running) {
    const sessions = await runningSessions(client);
    if (sessions.length > 0) note(`ending ${sessions.map(({ name }) => name).join(', ')}`);
    await endDaemon(client);
  }
  const before = left(places, process.env);
  if (purge) for (const { path, purged } of before) if (purged) await remove(path);
  const after = left(places, process.env);
  if (json)
    printJson({ stopped: running, removed: before.filter(({ path }) => !existsSync(path)), left: after });
  else {
    print(running ? 'Glovebox has stopped; nothing of it runs.' : 'Nothing of Glovebox was running.');
    print(after.length === 0 ? 'Nothing is left.' : 'Left on this machine:');
    for (const { path, what } of after) print(`  ${path}: ${what}`);
    if (!purge) print('`glovebox uninstall --purge` removes the state as well.');
  }
  return 0;
}

const keptChanges = async (client: ReturnType<typeof connect>['client']): Promise<string[]> =>
  (await client.call('listSessions', { query: { all: 'true' } }))
    .filter(({ changes }) => changes === 'kept')
    .map(({ name }) => name);

async function confirm(given: unknown, kept: readonly string[]): Promise<void> {
  if (kept.length > 0) note(`changes that were not applied will be lost: ${kept.slice(0, 20).join(', ')}`);
  if (given === 'purge') return;
  const { stdin, stderr } = process;
  if (given === undefined && stdin.isTTY && stderr.isTTY) {
    const asked = createInterface({ input: stdin, output: stderr });
    const answer = await asked.question(
      'This removes every session, staged change, secret and audit record. Type “purge” to go on: ',
    );
    asked.close();
    if (answer.trim() === 'purge') return;
  }
  throw new GloveboxError('GB_USAGE', {
    detail: '--purge was not confirmed',
    hint: 'Nothing was removed or stopped. Type the word at the question, or give --confirm purge.',
  });
}

/** Only what is the state’s own: a folder with something mounted in it is left as it is. */
async function remove(path: string): Promise<void> {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '));
  const inside = mounts.find((mount) => mount === path || mount.startsWith(`${path}/`));
  if (inside !== undefined)
    throw new GloveboxError('GB_STATE_REFUSED', {
      path,
      detail: `${inside} is mounted there`,
      todo: `Unmount it, then run this again.`,
    });
  // A session’s layers hold folders without any right for their owner.
  await promisify(execFile)('chmod', ['-R', 'u+rwX', '--', path]).catch(() => undefined);
  await rm(path, { recursive: true, force: true });
}
