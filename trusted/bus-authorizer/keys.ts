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
