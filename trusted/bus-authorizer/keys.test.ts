import { expect, it } from 'vitest';
import { createAuthorizerKeys, pairOf, signingPair } from './keys.ts';

it('a signature by OpenSSL is the one that the NATS library makes', () => {
  const { issuer } = createAuthorizerKeys();
  const [own, library] = [signingPair(issuer), pairOf(issuer)];
  const text = new TextEncoder().encode('text');
  expect(own.getPublicKey()).toBe(library.getPublicKey());
  expect(own.sign(text)).toEqual(library.sign(text));
  expect(library.verify(text, own.sign(text))).toBe(true);
});
