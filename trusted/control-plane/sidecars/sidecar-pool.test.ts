import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { limits, type SidecarBootstrap } from '../../../pure/contracts/index.ts';
import { randomIds } from '../random-ids.ts';
import { SidecarPool } from './sidecar-pool.ts';

it('[R45] as many sidecars start at the same moment as the limit says; every one that is wanted comes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-pool-'));
  let starting = 0;
  let most = 0;
  const children: EventEmitter[] = [];
  const told: (() => void)[] = [];
  /** A child that is warm once as many have started as may at the same moment, or hardly any more will. */
  const launch = (): ChildProcess => {
    starting += 1;
    most = Math.max(most, starting);
    const child = Object.assign(new EventEmitter(), {
      pid: 1,
      connected: true,
      kill: () => child.emit('exit', null, 'SIGKILL'),
      send: (_: unknown, done: (error: Error | null) => void) => {
        done(null);
        told.push(() => {
          starting -= 1;
          child.emit('message', { type: 'warm', caPem: 'ca' });
        });
        if (starting >= limits.sidecarStarts.value || children.length > 26)
          for (const warm of told.splice(0)) setImmediate(warm);
        return true;
      },
    });
    children.push(child);
    return child as unknown as ChildProcess;
  };
  const pool = new SidecarPool({
    size: 1,
    bundle: 'none',
    launch,
    sessionsFolder: folder,
    bootstrap: () => Promise.resolve({} as SidecarBootstrap),
    ids: randomIds,
    onLine: () => undefined,
    onError: (error) => {
      throw error;
    },
  });
  const taken = await Promise.all(Array.from({ length: 30 }, () => pool.take()));
  expect(new Set(taken.map(({ process }) => process.sessionId)).size).toBe(30);
  expect(most).toBe(limits.sidecarStarts.value);
  for (const child of children) child.emit('exit', 0, null);
  await pool.close();
  rmSync(folder, { recursive: true });
});
