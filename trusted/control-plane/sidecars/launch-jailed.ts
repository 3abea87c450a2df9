import { randomInt } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { spawnJailed } from '../../drivers/index.ts';
import { sidecarFlags, type Launch } from './launch.ts';

/** Above what systemd gives to containers and below 2^31: nobody else's, so that as root no two sidecars share a uid. */
const uids = { first: 0x70000000, count: 1 << 24 } as const;

/** Packages that a bundle loads from beside it, because they are not JavaScript alone. */
const loaded = ['@cedar-policy/cedar-wasm/nodejs'];

/**
 * Starts a sidecar in the jail: it reads what a sandbox sends, so it sees its bundle and system libraries, and neither the state
 * folder, nor the person's home, nor another process.
 */
export function launchJailed(mountPoint: string, moduleUrl: string): Launch {
  const require = createRequire(moduleUrl);
  const packages = loaded.map((name) => dirname(dirname(require.resolve(name))));
  mkdirSync(mountPoint, { recursive: true, mode: 0o755 });
  return (bundle, { fds, show = [] }) =>
    spawnJailed({
      program: [process.execPath, ...sidecarFlags, bundle],
      readOnly: [dirname(bundle), ...packages, ...show],
      // One heap for all of its threads instead of one each: they wait more than they work.
      env: { MALLOC_ARENA_MAX: '1' },
      uid: uids.first + randomInt(uids.count),
      mountPoint,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...fds],
    });
}
