import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';

const p256 = { name: 'ECDSA', namedCurve: 'P-256' };

/**
 * The public key of a PKCS#10 request, once the request has proven that its sender holds the private one. Names and
 * extensions in the request are not read at all: the caller decides who the certificate is for (invariant 3).
 */
export async function publicKeyOf(csrPem: string): Promise<webcrypto.CryptoKey> {
  if (Buffer.byteLength(csrPem) > limits.certificateRequest.value) throw refused('it is too long');
  try {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    // P-256 only. The import also refuses points that are not on the curve.
    const key = await webcrypto.subtle.importKey('spki', request.publicKey.rawData, p256, true, ['verify']);
    if (await request.verify()) return key;
  } catch (error) {
    // The library's message may quote the sender's bytes, so it stays the cause and is not shown.
    throw refused('it is not a PKCS#10 request with a P-256 key', error);
  }
  throw refused('its signature does not prove the private key');
}

const refused = (detail: string, cause?: unknown): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The certificate request', detail }, { cause });
