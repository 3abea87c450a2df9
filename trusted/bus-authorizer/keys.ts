import { createPrivateKey, sign } from 'node:crypto';
import { createAccount, createCurve, fromSeed } from '@nats-io/jwt';
import { GloveboxError, Secret } from '../../pure/contracts/index.ts';
import type { BusPublicKeys } from '../bus/index.ts';

/** `issuer` signs user JWTs that this bus alone believes, `xkey` opens the server's questions and seals the answers. */
export interface AuthorizerKeys {
  readonly issuer: Secret;
  readonly xkey: Secret;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const pairOf = (seed: Secret): ReturnType<typeof fromSeed> =>
  fromSeed(new TextEncoder().encode(seed.reveal()));

type KeyPair = ReturnType<typeof fromSeed>;

/** RFC 8410, section 7: the PKCS#8 form of an Ed25519 key, up to its 32 bytes. */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Signs with OpenSSL. The library's own Ed25519 is JavaScript that derives the key anew for each signature: most of the time
 * of an answer, and a server that reads its configuration anew asks about all of its clients in a row.
 */
export function signingPair(seed: Secret): KeyPair {
  const pair: KeyPair & { getRawSeed?: () => Uint8Array } = pairOf(seed);
  const raw = pair.getRawSeed?.();
  if (raw === undefined) return pair;
  const key = createPrivateKey({ key: Buffer.concat([pkcs8, raw]), format: 'der', type: 'pkcs8' });
  const publicKey = pair.getPublicKey();
  return Object.assign(Object.create(pair) as KeyPair, {
    getPublicKey: () => publicKey,
    sign: (input: Uint8Array) => new Uint8Array(sign(null, input, key)),
  });
}

export const createAuthorizerKeys = (): AuthorizerKeys => ({
  issuer: new Secret(text(createAccount().getSeed())),
  xkey: new Secret(text(createCurve().getSeed())),
});

export const authorizerPublicKeys = (keys: AuthorizerKeys): BusPublicKeys => ({
  issuer: publicKeyOf(keys.issuer, 'A'),
  xkey: publicKeyOf(keys.xkey, 'X'),
});

/** A public key's first letter is its kind: a seed of another kind would sign what nobody believes. */
function publicKeyOf(seed: Secret, kind: 'A' | 'X'): string {
  const key = pairOf(seed).getPublicKey();
  if (key.startsWith(kind)) return key;
  throw new GloveboxError('GB_KEYS_DAMAGED', { detail: 'a key of the bus is of another kind' });
}
