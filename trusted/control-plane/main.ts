import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { asGloveboxError } from '../../pure/contracts/index.ts';
import { createHostProbe, guardedPaths } from '../drivers/index.ts';
import { readArguments } from './arguments.ts';
import { startDaemon, type Daemon } from './daemon.ts';
import { createLog, errorFacts } from './log.ts';
import { programsBeside } from './programs.ts';
import { launchJailed } from './sidecars/launch-jailed.ts';
import { stagedChanges } from './staged-changes.ts';

/** The control plane's process. It is the parent of all the others; when it ends, they do. */
process.umask(0o077);
process.title = 'glovebox-control-plane';
const log = createLog();
let daemon: Daemon | undefined;
let ending = false;

async function end(why: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.info({ why }, 'ending');
  await daemon?.close();
  process.exit(0);
}

process.on('SIGTERM', () => void end('SIGTERM'));
process.on('SIGINT', () => void end('SIGINT'));
process.on('SIGHUP', () => undefined);
// A bug is not a reason to go on with half a state: everything ends, and the next start repairs (R46).
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    log.fatal({ error: errorFacts(error) }, event);
    process.exit(70);
  });
}

try {
  const places = await readArguments(process.argv.slice(2));
  daemon = await startDaemon({
    places,
    programs: programsBeside(import.meta.url),
    home: homedir(),
    log,
    launch: launchJailed(join(places.state, 'jail'), import.meta.url),
    changesOf: stagedChanges,
    guardedPaths,
    probe: createHostProbe,
    onShutdown: () => void end('asked by a person'),
  });
} catch (error) {
  const known = asGloveboxError(error);
  log.error({ error: errorFacts(error) }, 'the start failed');
  // The last line, for whoever started this: the catalogued error, as it travels everywhere else.
  process.stderr.write(`${JSON.stringify(known.toBody())}\n`);
  process.exit(known.exitCode);
}
