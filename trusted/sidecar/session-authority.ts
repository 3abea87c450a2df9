import 'reflect-metadata';
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const hour = 3_600_000;

export interface HostCertificate {
  readonly keyPem: string;
  /** Leaf, then the authority. */
  readonly chainPem: string;
}

/**
 * The authority that one session's sandbox trusts, and nobody else. Its key is made here, is not extractable, and dies
 * with this process.
 */
export class SessionAuthority {
  readonly certificatePem: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;
  /** One key for all leaves: it leaves this process no more than the authority's does. */
  readonly #leafKeys: webcrypto.CryptoKeyPair;
  readonly #leafKeyPem: string;

  private constructor(
    certificate: x509.X509Certificate,
    keys: webcrypto.CryptoKeyPair,
    leafKeys: webcrypto.CryptoKeyPair,
    leafKeyPem: string,
  ) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.#leafKeys = leafKeys;
    this.#leafKeyPem = leafKeyPem;
    this.certificatePem = certificate.toString('pem');
  }

  /** `lifetimeMs`: at least that of the session. */
  static async create(sessionId: string, now: number, lifetimeMs: number): Promise<SessionAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, false, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: [{ O: ['Glovebox'] }, { CN: [`session ${sessionId}`] }],
      notBefore: new Date(now - hour),
      notAfter: new Date(now + lifetimeMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const leafKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leafKeys.privateKey));
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    return new SessionAuthority(
      certificate,
      keys,
      leafKeys,
      key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    );
  }

  /** A certificate for one host name, lower case, good for a day at most. */
  async issue(host: string, now: number): Promise<HostCertificate> {
    const notAfter = Math.min(now + 24 * hour, this.#certificate.notAfter.getTime());
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: [{ O: ['Glovebox session'] }],
      issuer: this.#certificate.subjectName,
      notBefore: new Date(now - hour),
      notAfter: new Date(notAfter),
      signingAlgorithm: algorithm,
      publicKey: this.#leafKeys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: host }], true),
        await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      ],
    });
    return { keyPem: this.#leafKeyPem, chainPem: `${leaf.toString('pem')}\n${this.certificatePem}\n` };
  }
}

/** RFC 5280 section 4.1.2.2: positive, at most 20 octets. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}
