import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { defaultTrustDomain, GloveboxError } from '../../../pure/contracts/index.ts';
import type { SandboxDriver } from '../../drivers/index.ts';
import { startBeside, type ProviderHostOptions } from './provider-host.ts';

const folder = mkdtempSync(join(tmpdir(), 'glovebox-beside-'));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('on an unfit host a provider says so once, and is tried again when the host was looked at again', async () => {
  const tries: (() => void)[] = [];
  const logged: string[] = [];
  let look: () => void = () => undefined;
  let missing = 'AppArmor';
  const tried = (count: number): Promise<void> =>
    new Promise((resolve) => (count <= starts ? resolve() : (tries[count] = resolve)));
  let starts = 0;
  const stop = startBeside({
    domain: 'files',
    program: '',
    forwarder: '',
    folder,
    folders: [],
    driver: {
      start: () => {
        starts += 1;
        tries[starts]?.();
        return Promise.reject(new GloveboxError('GB_HOST_UNFIT', { missing, detail: '', todo: '' }));
      },
    } as unknown as SandboxDriver,
    launch: () => expect.fail('nothing is launched'),
    authority: {} as ProviderHostOptions['authority'],
    trustDomain: defaultTrustDomain,
    bundlePem: '',
    workloadApi: { host: '', port: 0 },
    bus: { host: '', port: 0 },
    onGone: () => undefined,
    fitnessChanged: () => new Promise((resolve) => (look = resolve)),
    log: (message) => logged.push(message),
  });
  await tried(1);
  look();
  await tried(2);
  expect(logged).toEqual(['the files provider could not be started']);
  // Another reason is news.
  missing = 'seccomp';
  look();
  await tried(3);
  look();
  await tried(4);
  expect(logged).toHaveLength(2);
  await stop();
  expect(starts).toBe(4);
});
