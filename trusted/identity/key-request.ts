import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface KeyRequest {
  /** PKCS#8; stays in this process. */
  readonly keyPem: string;
  /** Carries the public key and nothing else: whose it is, the issuer decides. */
  readonly csrPem: string;
}

/** A new P-256 key and the request that proves it. */
export async function newKeyRequest(): Promise<KeyRequest> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: algorithm });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return { keyPem: key.export({ format: 'pem', type: 'pkcs8' }).toString(), csrPem: csr.toString('pem') };
}
