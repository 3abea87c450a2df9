import { generateKeyPairSync } from 'node:crypto';
import { CompactSign, decodeProtectedHeader, exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  asSessionId,
  asTrustDomain,
  encodeId,
  spiffeId,
  type ConsentClaims,
  GloveboxError,
} from '../../pure/contracts/index.ts';
import { TokenVerifier } from './index.ts';
import { startTestSigner, type TestSigner } from './testing.ts';

const trustDomain = asTrustDomain('glovebox.local');
const session = asSessionId(encodeId(new Uint8Array(16)));
const sidecar = spiffeId(trustDomain, { kind: 'sidecar', session });
const bus = spiffeId(trustDomain, { kind: 'bus', server: 'main' });

let test: TestSigner;
beforeAll(async () => {
  test = await startTestSigner();
});
afterAll(() => test.close());

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof GloveboxError ? error.code : String(error)),
  );

describe('tokens', () => {
  const claims = (): ConsentClaims => {
    const iat = Math.floor(Date.now() / 1000);
    return {
      iss: spiffeId(trustDomain, { kind: 'signer' }),
      aud: sidecar,
      sub: 'local/1000',
      session_id: session,
      sandbox_id: 'b',
      scope: 'files:write:/a',
      challenge_id: 'c',
      args_hash: 'h',
      turn_id: 't',
      mode: 'once',
      digest: 'd',
      jti: 'j',
      iat,
      exp: iat + 300,
    };
  };
  const verifier = async (): Promise<TokenVerifier> => new TokenVerifier(await test.signer.publicKeys());
  const expected = (): Parameters<TokenVerifier['consent']>[1] => {
    const { iat: _, exp: __, ...rest } = claims();
    return rest;
  };

  it('[R37] a consent token is good for what it says', async () => {
    const token = await test.signer.signConsent(claims());
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'EdDSA', typ: 'glovebox-consent+jwt' });
    expect(await (await verifier()).consent(token, expected(), Date.now())).toMatchObject({
      jti: 'j',
      scope: 'files:write:/a',
    });
  });

  it.each([
    'iss',
    'aud',
    'sub',
    'session_id',
    'sandbox_id',
    'scope',
    'challenge_id',
    'args_hash',
    'turn_id',
    'mode',
    'digest',
    'jti',
  ] as const)('[R37] another %s is refused by itself, and so is its absence', async (name) => {
    const [verify, token] = [await verifier(), await test.signer.signConsent(claims())];
    await expect(verify.consent(token, { ...expected(), [name]: 'another' }, Date.now())).rejects.toThrow(
      'GB_TOKEN_INVALID',
    );
    expect(await verify.consent(token, expected(), Date.now())).toBeDefined();
    const { [name]: _, ...rest } = claims();
    expect(await codeOf(test.signer.signConsent(rest as ConsentClaims))).toBe('GB_INPUT_INVALID');
    expect(await codeOf(test.signer.signConsent({ ...claims(), [name]: '' }))).toBe('GB_INPUT_INVALID');
  });

  it('[R37] a consent token ends in time', async () => {
    const [verify, token] = [await verifier(), await test.signer.signConsent(claims())];
    const { exp, iat } = claims();
    expect(await verify.consent(token, expected(), (exp - 2) * 1000)).toBeDefined();
    await expect(verify.consent(token, expected(), (exp + 2) * 1000)).rejects.toThrow('GB_TOKEN_INVALID');
    await expect(verify.consent(token, expected(), (iat - 60) * 1000)).rejects.toThrow('GB_TOKEN_INVALID');
  });

  it.each([
    ['a longer life', (c: ConsentClaims) => ({ ...c, exp: c.iat + 301 })],
    ['an end in the past', (c: ConsentClaims) => ({ ...c, iat: c.iat - 20, exp: c.iat - 10 })],
    ['a beginning in the future', (c: ConsentClaims) => ({ ...c, iat: c.iat + 60, exp: c.exp + 60 })],
    [
      'an audience of another session',
      (c: ConsentClaims) => ({ ...c, session_id: encodeId(new Uint8Array(16).fill(9)) }),
    ],
    ['an audience that is no sidecar', (c: ConsentClaims) => ({ ...c, aud: bus })],
    ['another issuer', (c: ConsentClaims) => ({ ...c, iss: bus })],
    ['a claim that nobody knows', (c: ConsentClaims) => ({ ...c, admin: true })],
  ])('[R37] the signer signs no consent with %s', async (_, change) => {
    expect(await codeOf(test.signer.signConsent(change(claims())))).toBe('GB_INPUT_INVALID');
    expect(await codeOf(test.signer.signConsent(claims()))).toBe('done');
  });

  it('[R37] a token of one purpose is good for no other', async () => {
    const verify = await verifier();
    const tokens = {
      consent: await test.signer.signConsent(claims()),
      control: await test.signer.signControl({ session_id: session, seq: 1, type: 'turn-open' }),
      checkpoint: await test.signer.signCheckpoint({ root: 'r' }),
    };
    for (const [is, token] of Object.entries(tokens)) {
      for (const as of ['consent', 'control', 'checkpoint'] as const) {
        expect([is, as, (await verify.verify(as, token)).ok]).toEqual([is, as, is === as]);
      }
    }
  });

  it('[R37] the typ is checked besides the key', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const verify = new TokenVerifier({ keys: [{ ...(await exportJWK(publicKey)), kid: 'consent.1' }] });
    const sign = (typ: string): Promise<string> =>
      new CompactSign(Buffer.from('{}'))
        .setProtectedHeader({ alg: 'EdDSA', typ, kid: 'consent.1' })
        .sign(privateKey);
    expect((await verify.verify('consent', await sign('glovebox-consent+jwt'))).ok).toBe(true);
    for (const typ of ['glovebox-control+jws', 'JWT', '']) {
      expect((await verify.verify('consent', await sign(typ))).ok).toBe(false);
    }
  });

  it('[R37] a changed or unsigned token is refused', async () => {
    const [verify, token] = [await verifier(), await test.signer.signConsent(claims())];
    const [head, body, signature] = token.split('.') as [string, string, string];
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'glovebox-consent+jwt' })).toString(
      'base64url',
    );
    const changed = Buffer.from(JSON.stringify({ ...claims(), scope: '*' })).toString('base64url');
    for (const bad of [`${none}.${body}.`, `${head}.${changed}.${signature}`, `${head}.${body}.`, 'x', '']) {
      expect((await verify.verify('consent', bad)).ok).toBe(false);
    }
    expect((await verify.verify('consent', token)).ok).toBe(true);
  });

  it('[R5] gives out public keys only, one for each purpose', async () => {
    const { keys } = await test.signer.publicKeys();
    expect(keys.map((key) => key.kid?.split('.')[0])).toEqual(['consent', 'control', 'checkpoint']);
    expect(new Set(keys.map((key) => key.x)).size).toBe(3);
    expect(JSON.stringify(keys)).not.toContain('"d"');
  });
});
