import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { root } from './paths.mjs';
import { findTools } from './tools.mjs';
import { pinned } from './versions.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-tools-'));
  mkdirSync(join(folder, 'bin'));
  vi.stubEnv('PATH', join(folder, 'bin'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function program(path: string, says: string): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho '${says}'\n`);
  chmodSync(path, 0o755);
}

/** Where a build of the pinned version would lie. */
function cached(name: string, module: string): string {
  const version = pinned(readFileSync(join(root, 'tools/go', name, 'go.mod'), 'utf8'), module) ?? '';
  return join(folder, 'cache/glovebox/tools', name, version, name);
}
const cachedRunsc = (): string => cached('runsc', 'gvisor.dev/gvisor');
const cachedNats = (): string => cached('nats-server', 'github.com/nats-io/nats-server/v2');

it('[R44] takes tools from PATH that are new enough', async () => {
  program(join(folder, 'bin/runsc'), 'runsc version release-20991231.0');
  program(join(folder, 'bin/nats-server'), 'nats-server: v2.99.0');
  expect(await findTools()).toEqual({
    runsc: join(folder, 'bin/runsc'),
    natsServer: join(folder, 'bin/nats-server'),
  });
});

it('takes the build of the pinned version where those on PATH are too old or say nothing', async () => {
  program(join(folder, 'bin/runsc'), 'runsc version release-20220907.0');
  program(join(folder, 'bin/nats-server'), 'no version');
  program(cachedRunsc(), '');
  program(cachedNats(), '');
  expect(await findTools()).toEqual({ runsc: cachedRunsc(), natsServer: cachedNats() });
});

it('says in one line what to install where a tool has to be built and Go is missing or too old', async () => {
  await expect(findTools()).rejects.toThrow(/Go is missing[^]*Install Go 1\.26 or later/);
  program(join(folder, 'bin/go'), 'go version go1.19.8 linux/amd64');
  await expect(findTools()).rejects.toThrow(/Go 1\.19\.8 is too old[^]*Install Go 1\.26 or later/);
});
