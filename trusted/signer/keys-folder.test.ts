import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { SignerClient } from './index.ts';
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

describe('the keys folder', () => {
  const start = (keysFolder: string, domain = 'glovebox.local'): Promise<SignerClient> =>
    SignerClient.start({ entry, keysFolder, trustDomain: domain });
  const closing = async (starting: Promise<SignerClient>): Promise<string> => {
    const signer = await starting;
    try {
      return await signer.bundle();
    } finally {
      await signer.close();
    }
  };

  it('[R5] is private, and the root key in it is sealed', async () => {
    expect(statSync(test.keysFolder).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(test.keysFolder))
      expect(statSync(join(test.keysFolder, name)).mode & 0o777).toBe(0o600);
    const root = readFileSync(join(test.keysFolder, 'root.pem'), 'utf8');
    expect(root).toContain('ENCRYPTED PRIVATE KEY');
    expect(root).not.toContain('BEGIN PRIVATE KEY');
  });

  it('is the same after a restart, also with the root offline and after a crash', async () => {
    const keys = join(folder, 'again');
    const first = await closing(start(keys));
    writeFileSync(join(keys, '.new-00ff'), 'half a key', { mode: 0o600 });
    expect(await closing(start(keys))).toBe(first);
    expect(readdirSync(keys)).not.toContain('.new-00ff');
    renameSync(join(keys, 'root.passphrase'), join(folder, 'elsewhere'));
    expect(await closing(start(keys))).toBe(first);
    rmSync(join(keys, 'issuing.pem'));
    expect(await codeOf(closing(start(keys)))).toBe('GB_KEYS_DAMAGED');
    renameSync(join(folder, 'elsewhere'), join(keys, 'root.passphrase'));
    expect(await closing(start(keys))).toBe(first);
  });

  it('[R5] is refused where others can reach it', async () => {
    const keys = join(folder, 'open');
    await closing(start(keys));
    chmodSync(keys, 0o750);
    expect(await codeOf(closing(start(keys)))).toBe('GB_KEYS_UNSAFE');
    chmodSync(keys, 0o700);
    chmodSync(join(keys, 'consent.pem'), 0o640);
    expect(await codeOf(closing(start(keys)))).toBe('GB_KEYS_UNSAFE');
    chmodSync(join(keys, 'consent.pem'), 0o600);
    expect(await codeOf(closing(start(keys)))).toBe('done');
    renameSync(join(keys, 'consent.pem'), join(folder, 'consent.pem'));
    symlinkSync(join(folder, 'consent.pem'), join(keys, 'consent.pem'));
    expect(await codeOf(closing(start(keys)))).toBe('GB_KEYS_UNSAFE');
    symlinkSync(test.keysFolder, join(folder, 'linked'));
    expect(await codeOf(closing(start(join(folder, 'linked'))))).toBe('GB_KEYS_UNSAFE');
  });

  it('is of one trust domain, and its parts belong together', async () => {
    const keys = join(folder, 'one');
    await closing(start(keys));
    expect(await codeOf(closing(start(keys, 'other.local')))).toBe('GB_KEYS_DAMAGED');
    writeFileSync(join(keys, 'issuing.pem'), readFileSync(join(test.keysFolder, 'issuing.pem')));
    expect(await codeOf(closing(start(keys)))).toBe('GB_KEYS_DAMAGED');
  });
});
