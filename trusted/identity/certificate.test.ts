import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSvid, type PeerRole } from './certificate.ts';
import { TestAuthority, type Wanted } from './testing.ts';

const id = 'spiffe://glovebox.local/provider/files/main';
const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

const read = async (wanted: Wanted, role: PeerRole = 'client'): Promise<ReturnType<typeof readSvid>> =>
  readSvid(new X509Certificate((await authority.mint(wanted)).chainPem), role);

/** Each of these OpenSSL refuses too, so a handshake cannot show that this layer does by itself. */
describe('[R20] reading an SVID, without TLS before it', () => {
  it('takes a good one, for each role', async () => {
    for (const role of ['client', 'server'] as const) {
      expect(await read({ uris: [id] }, role)).toMatchObject({ ok: true, value: { identity: { id } } });
    }
  });

  it('[R2] refuses a CA that does not say that it signs certificates', async () => {
    expect(await read({ uris: [id], ca: true })).toMatchObject({
      ok: false,
      reason: 'it is the certificate of a CA',
    });
  });

  it('[R2] refuses an extension that occurs twice', async () => {
    const name = new x509.SubjectAlternativeNameExtension([{ type: 'url', value: id }]);
    expect(await read({ names: [name] })).toMatchObject({ ok: true });
    expect(await read({ names: [name, name] })).toMatchObject({
      ok: false,
      reason: 'an extension occurs twice',
    });
  });

  it('[R2] refuses a certificate for the other role', async () => {
    expect(await read({ uris: [id], usages: [serverAuth] }, 'client')).toMatchObject({ ok: false });
    expect(await read({ uris: [id], usages: [serverAuth] }, 'server')).toMatchObject({ ok: true });
    expect(await read({ uris: [id], usages: [clientAuth] }, 'server')).toMatchObject({ ok: false });
    expect(await read({ uris: [id], usages: [clientAuth] }, 'client')).toMatchObject({ ok: true });
  });
});
