import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { asTrustDomain, spiffeId } from '../../pure/contracts/index.ts';
import { checkedSvid, newKeyRequest, type SvidMaterial } from '../identity/index.ts';
import { CertificateAuthority } from './authority.ts';
import { KeysFolder } from './keys-folder.ts';

const trustDomain = asTrustDomain('glovebox.local');
const id = spiffeId(trustDomain, { kind: 'provider', domain: 'files', name: 'main' });
let folder: string;
let keys: KeysFolder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-rotation-'));
  keys = KeysFolder.open(join(folder, 'keys'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (): Promise<CertificateAuthority> => CertificateAuthority.open(keys, trustDomain, Date.now);

/** A new certificate, as somebody takes it who trusts `bundlePem`. */
async function taken(
  authority: CertificateAuthority,
  bundlePem = authority.bundlePem,
): Promise<SvidMaterial> {
  const { keyPem, csrPem } = await newKeyRequest();
  const { chainPem } = await authority.issue({ csrPem, spiffeId: id, ttlSeconds: 300, dnsNames: [] });
  return checkedSvid(keyPem, { chainPem, bundlePem }, id);
}
const stillGood = ({ keyPem, chainPem }: SvidMaterial, bundlePem: string): SvidMaterial =>
  checkedSvid(keyPem, { chainPem, bundlePem }, id);
const rootsIn = (pem: string): number => pem.split('BEGIN CERTIFICATE').length - 1;

describe('the rotation of a CA', () => {
  it('[R4] a new issuing CA is trusted by who trusts the root, and so is the old one', async () => {
    const authority = await open();
    const before = authority.bundlePem;
    const old = await taken(authority);
    await authority.rotateIssuing();
    const next = await taken(authority, before);
    expect(next.chainPem.split('-----END')[1]).not.toBe(old.chainPem.split('-----END')[1]);
    expect(authority.bundlePem).toBe(before);
    stillGood(old, before);
    await taken(await open(), before);
  });

  it('[R4] a root takes the place of another in three steps, and at none of them is a good certificate refused', async () => {
    const authority = await open();
    const first = authority.bundlePem;
    const old = await taken(authority);
    expect(await authority.rotateRoot('announce')).toBe('activate');
    const both = authority.bundlePem;
    expect([rootsIn(first), rootsIn(both)]).toEqual([1, 2]);
    // Who has not heard of it yet takes what is made, and who has takes what was.
    await taken(authority, first);
    stillGood(old, both);
    expect(await authority.rotateRoot('activate')).toBe('retire');
    const next = await taken(authority, both);
    stillGood(old, authority.bundlePem);
    // Why the steps are apart: one that slept through the first would not know the new root.
    await expect(taken(authority, first)).rejects.toThrow(/GB_IDENTITY_REFUSED/);
    expect(await authority.rotateRoot('retire')).toBe('announce');
    expect(rootsIn(authority.bundlePem)).toBe(1);
    stillGood(next, authority.bundlePem);
    expect(() => stillGood(old, authority.bundlePem)).toThrow(/GB_IDENTITY_REFUSED/);
    await taken(await open(), authority.bundlePem);
  });

  it('a root that is offline is not replaced: its passphrase has to be there', async () => {
    const authority = await open();
    const passphrase = keys.read('root.passphrase') ?? '';
    keys.remove('root.passphrase');
    await expect(authority.rotateRoot('announce')).rejects.toThrow(/GB_KEYS_DAMAGED/);
    expect(keys.read('root.passphrase')).toBeUndefined();
    keys.write('root.passphrase', passphrase);
    expect(await authority.rotateRoot('announce')).toBe('activate');
  });

  it('takes the steps in their order only', async () => {
    const authority = await open();
    for (const step of ['activate', 'retire'] as const)
      await expect(authority.rotateRoot(step)).rejects.toThrow(/GB_INPUT_INVALID/);
    await authority.rotateRoot('announce');
    for (const step of ['announce', 'retire'] as const)
      await expect(authority.rotateRoot(step)).rejects.toThrow(/GB_INPUT_INVALID/);
    expect((await open()).rootPhase).toBe('activate');
  });

  it.each([0, 1, 2, 3])(
    '[R46] a step that is cut off after %s writes leaves a CA that goes on',
    async (writes) => {
      const authority = await open();
      const old = await taken(authority);
      await authority.rotateRoot('announce');
      const both = authority.bundlePem;
      let done = 0;
      const cut = (): void => {
        if (done === writes) throw new Error('cut off');
        done += 1;
      };
      const { write, remove } = { write: keys.write.bind(keys), remove: keys.remove.bind(keys) };
      const spies = [
        vi.spyOn(keys, 'write').mockImplementation((name, content) => {
          cut();
          write(name, content);
        }),
        vi.spyOn(keys, 'remove').mockImplementation((name) => {
          cut();
          remove(name);
        }),
      ];
      await expect(authority.rotateRoot('activate')).rejects.toThrow('cut off');
      for (const spy of spies) spy.mockRestore();
      const again = await open();
      await taken(again, both);
      stillGood(old, again.bundlePem);
      if (again.rootPhase === 'activate') await again.rotateRoot('activate');
      expect(again.rootPhase).toBe('retire');
      await again.rotateRoot('retire');
      await taken(again, both);
    },
  );
});
