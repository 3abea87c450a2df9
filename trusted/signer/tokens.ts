import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, CompactSign, exportJWK, type JWK } from 'jose';
import {
  consentClaims,
  GloveboxError,
  limits,
  parseIdentity,
  spiffeId,
  type ConsentClaims,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import type { KeysFolder } from './keys-folder.ts';
import { purposes, type Purpose } from '../tokens/index.ts';

interface SigningKey {
  readonly key: KeyObject;
  readonly kid: string;
  readonly jwk: JWK;
}

const second = 1000;

/** The three Ed25519 keys. One key for one purpose, and the type of a token is part of what is signed. */
export class TokenKeys {
  readonly #keys: Readonly<Record<Purpose, SigningKey>>;

  private constructor(keys: Readonly<Record<Purpose, SigningKey>>) {
    this.#keys = keys;
  }

  static async open(folder: KeysFolder): Promise<TokenKeys> {
    return new TokenKeys({
      consent: await openKey(folder, 'consent'),
      control: await openKey(folder, 'control'),
      checkpoint: await openKey(folder, 'checkpoint'),
    });
  }

  publicKeys(): { keys: JWK[] } {
    return { keys: Object.values(this.#keys).map(({ jwk }) => jwk) };
  }

  sign(purpose: Purpose, payload: object): Promise<string> {
    const { key, kid } = this.#keys[purpose];
    return new CompactSign(Buffer.from(JSON.stringify(payload)))
      .setProtectedHeader({ alg: 'EdDSA', typ: purposes[purpose].typ, kid })
      .sign(key);
  }
}

async function openKey(folder: KeysFolder, purpose: Purpose): Promise<SigningKey> {
  const name = `${purpose}.pem`;
  let pem = folder.read(name);
  if (pem === undefined) {
    pem = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    folder.write(name, pem);
  }
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new GloveboxError('GB_KEYS_DAMAGED', { detail: `${name} is not an Ed25519 key` });
  }
  const publicJwk = await exportJWK(createPublicKey(key));
  const kid = `${purpose}.${await calculateJwkThumbprint(publicJwk)}`;
  return { key, kid, jwk: { ...publicJwk, kid, alg: 'EdDSA', use: 'sig' } };
}

/**
 * What the signer itself makes sure of before it signs a consent token (R37): every claim there, the audience the
 * sidecar of that very session, at most 5 minutes from now.
 */
export function checkConsent(claims: unknown, trustDomain: TrustDomain, nowMs: number): ConsentClaims {
  const parsed = consentClaims.safeParse(claims);
  if (!parsed.success) {
    throw refused(
      `${parsed.error.issues[0]?.path.map(String).join('.') ?? ''} ${parsed.error.issues[0]?.message ?? ''}`,
    );
  }
  const { data } = parsed;
  for (const [name, value] of Object.entries(data)) if (value === '') throw refused(`${name} is empty`);
  if (data.iss !== spiffeId(trustDomain, { kind: 'signer' })) throw refused('iss is not the signer');
  const audience = parseIdentity(data.aud);
  if (
    !audience.ok ||
    audience.value.kind !== 'sidecar' ||
    audience.value.trustDomain !== trustDomain ||
    audience.value.session !== data.session_id
  ) {
    throw refused('aud is not the sidecar of session_id');
  }
  const now = Math.floor(nowMs / second);
  if (Math.abs(data.iat - now) > limits.signerClockSkew.value / second) throw refused('iat is not now');
  if (data.exp <= now || data.exp - data.iat > limits.consentTokenLifetime.value / second) {
    throw refused('exp is not within 5 minutes of iat');
  }
  return data;
}

const refused = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The consent token', detail });
