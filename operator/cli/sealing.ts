import { CompactEncrypt, importJWK } from 'jose';
import type { SealedContent, sealing } from '../../pure/contracts/index.ts';

/** The same two algorithms as the contract's `sealing`; its type keeps them so, without loading the schemas. */
const { alg, enc }: typeof sealing = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM' };

/** The value sealed to the secret broker's key; the name is inside, so a seal is good for one secret only. */
export async function seal(content: SealedContent, jwk: Record<string, unknown>): Promise<string> {
  const kid = typeof jwk['kid'] === 'string' ? { kid: jwk['kid'] } : {};
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(content)))
    .setProtectedHeader({ alg, enc, ...kid })
    .encrypt(await importJWK(jwk, alg));
}
