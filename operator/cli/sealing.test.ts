import { compactDecrypt, exportJWK, generateKeyPair } from 'jose';
import { expect, test } from 'vitest';
import { sealedContent, sealing } from '../../pure/contracts/index.ts';
import { seal } from './sealing.ts';

test('[R27] a sealed secret opens with the broker’s key, holds its name, and shows nothing of its value', async () => {
  const { publicKey, privateKey } = await generateKeyPair(sealing.alg, { crv: 'P-256', extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: sealing.alg, use: 'enc' };
  const sealed = await seal({ name: 'anthropic', value: 'canary-value' }, jwk);
  expect(Buffer.from(sealed.replaceAll('.', ''), 'base64url').toString('latin1')).not.toContain('canary');
  const { plaintext, protectedHeader } = await compactDecrypt(sealed, privateKey);
  expect(protectedHeader).toEqual({ ...sealing, kid: 'k1', epk: protectedHeader.epk });
  expect(sealedContent.parse(JSON.parse(new TextDecoder().decode(plaintext)))).toEqual({
    name: 'anthropic',
    kind: 'text',
    value: 'canary-value',
  });
});
