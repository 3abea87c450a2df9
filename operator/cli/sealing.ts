import { CompactEncrypt, importJWK } from 'jose';

/** The value sealed to the secret broker's key; the name is part of what is authenticated, so a seal fits one secret only. */
export async function seal(name: string, value: string, jwk: Record<string, unknown>): Promise<string> {
  const key = await importJWK(jwk, 'ECDH-ES+A256KW');
  return new CompactEncrypt(new TextEncoder().encode(value))
    .setProtectedHeader({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM', typ: 'glovebox-secret', sub: name })
    .encrypt(key);
}
