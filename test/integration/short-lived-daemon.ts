import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { dist } from '../../tools/setup/paths.mjs';
import { readArguments } from '../../trusted/control-plane/arguments.ts';
import { startDaemon } from '../../trusted/control-plane/daemon.ts';
import { createLog } from '../../trusted/control-plane/log.ts';
import { programsBeside } from '../../trusted/control-plane/programs.ts';
import { launchJailed } from '../../trusted/control-plane/sidecars/launch-jailed.ts';
import { stagedChanges } from '../../trusted/control-plane/staged-changes.ts';
import { createHostProbe, guardedPaths } from '../../trusted/drivers/index.ts';

/** The control plane with certificates of so many seconds; all the rest of it is the product's. */
process.umask(0o077);
const [seconds = '', ...words] = process.argv.slice(2);
const places = await readArguments(words);
const built = pathToFileURL(join(dist, 'control-plane.js')).href;
const daemon = await startDaemon({
  places,
  programs: programsBeside(built),
  home: homedir(),
  log: createLog(),
  launch: launchJailed(join(places.state, 'jail'), built),
  changesOf: stagedChanges,
  guardedPaths,
  probe: createHostProbe,
  certificateSeconds: Number(seconds),
  onShutdown: () => process.exit(0),
});
process.on('SIGTERM', () => void daemon.close().finally(() => process.exit(0)));
