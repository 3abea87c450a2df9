import { fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { SignerClient } from './index.ts';
import { SignerService } from './service.ts';
import { bundleSigner, startTestSigner, type TestSigner } from './testing.ts';

let folder: string;
let entry: string;
let test: TestSigner;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-signer-test-'));
  entry = await bundleSigner(folder);
  test = await startTestSigner({ entry });
});
afterAll(async () => {
  await test.close();
  rmSync(folder, { recursive: true, force: true });
});

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof GloveboxError ? error.code : String(error)),
  );

describe('the channel', () => {
  it('answers anything that it does not know with an error', async () => {
    const service = new SignerService(Date.now);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.anything(),
          fc.record({ id: fc.anything(), method: fc.anything(), params: fc.anything() }),
        ),
        async (message) => {
          expect(await service.answer(message)).toMatchObject({ ok: false });
        },
      ),
      { numRuns: 200 },
    );
    for (const method of ['bundle', 'publicKeys'])
      expect(await service.answer({ id: 1, method, params: {} })).toMatchObject({ id: 1, ok: false });
  });

  it('[R5] bootstraps once', async () => {
    const child = fork(entry, [], { execArgv: [], env: {}, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const ask = async (message: object): Promise<unknown> => {
      child.send(message);
      return (await once(child, 'message'))[0];
    };
    const bootstrap = {
      method: 'bootstrap',
      params: { keysFolder: join(folder, 'twice'), trustDomain: 'glovebox.local' },
    };
    expect(await ask({ id: 1, method: 'bundle', params: {} })).toMatchObject({ ok: false });
    expect(await ask({ id: 2, ...bootstrap })).toMatchObject({ ok: true });
    expect(await ask({ id: 3, ...bootstrap })).toMatchObject({ ok: false });
    expect(await ask({ id: 4, method: 'exportKeys', params: {} })).toMatchObject({ ok: false });
    expect(await ask({ id: 5, method: 'bundle', params: {} })).toMatchObject({ ok: true });
    child.disconnect();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('[R5] is the one door: without it the program ends', () => {
    const run = spawnSync(process.execPath, [entry]);
    expect(run.status).toBe(64);
  });

  it('[R46] a signer that dies fails every pending and later call, and says so', async () => {
    const signer = await SignerClient.start({
      entry,
      keysFolder: join(folder, 'dies'),
      trustDomain: 'glovebox.local',
    });
    const exits: unknown[] = [];
    signer.onExit((exit) => exits.push(exit));
    process.kill(signer.pid!, 'SIGSTOP');
    const pending = [signer.bundle(), signer.publicKeys()].map(codeOf);
    process.kill(signer.pid!, 'SIGKILL');
    expect(await Promise.all(pending)).toEqual(['GB_SIGNER_UNAVAILABLE', 'GB_SIGNER_UNAVAILABLE']);
    expect(await codeOf(signer.bundle())).toBe('GB_SIGNER_UNAVAILABLE');
    expect(exits).toEqual([{ code: null, signal: 'SIGKILL' }]);
    signer.onExit((exit) => exits.push(exit));
    expect(exits).toHaveLength(2);
  });

  it('[R46] signals to the whole group do not end it: it signs to the end, and ends with its channel', async () => {
    const signer = await SignerClient.start({
      entry,
      keysFolder: join(folder, 'signals'),
      trustDomain: 'glovebox.local',
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(signer.pid!, signal);
    expect(await codeOf(signer.bundle())).toBe('done');
    const exits: unknown[] = [];
    signer.onExit((exit) => exits.push(exit));
    await signer.close();
    expect(exits).toEqual([{ code: 0, signal: null }]);
  });

  it('[R46] a signer whose parent dies ends by itself', async () => {
    const keys = JSON.stringify(join(folder, 'orphan'));
    const source = `const c = require('node:child_process').fork(${JSON.stringify(entry)}, [], { execArgv: [] });
      c.on('message', () => { console.log(c.pid); });
      c.send({ id: 1, method: 'bootstrap', params: { keysFolder: ${keys}, trustDomain: 'glovebox.local' } });`;
    const parent = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [printed] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(printed.toString());
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toContain('Name:');
    // The signer holds the write end of its parent's stdout too, so the pipe ends when both have.
    const ended = once(parent.stdout, 'end');
    parent.stdout.resume();
    parent.kill('SIGKILL');
    await ended;
  });

  it('[R27] takes nothing of the environment', () => {
    const environment = readFileSync(`/proc/${test.signer.pid!}/environ`, 'latin1')
      .split('\0')
      .filter(Boolean);
    expect(environment.map((one) => one.split('=')[0]).sort()).toEqual([
      'NODE_CHANNEL_FD',
      'NODE_CHANNEL_SERIALIZATION_MODE',
    ]);
  });
});
