import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import {
  GloveboxError,
  identityOf,
  limits,
  parseIdentity,
  type SpiffeId,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import { algorithm, newSerial, permittedDnsNames } from './ca-keys.ts';
import { CaKeys, type CaCertificates, type RootPhase } from './ca-rotation.ts';
import type { RootStep } from './protocol.ts';
import { publicKeyOf } from './csr.ts';
import type { KeysFolder } from './keys-folder.ts';

const serverKinds: readonly string[] = ['bus', 'control-plane'];
const second = 1000;

export interface SvidRequest {
  readonly csrPem: string;
  readonly spiffeId: string;
  readonly ttlSeconds: number;
  readonly dnsNames: readonly string[];
}

export interface IssuedSvid {
  /** Leaf, then issuing CA. */
  readonly chainPem: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notAfter: Date;
}

/** Root and issuing CA of one trust domain. */
export class CertificateAuthority {
  readonly trustDomain: TrustDomain;
  readonly #keys: CaKeys;
  readonly #now: () => number;

  private constructor(trustDomain: TrustDomain, keys: CaKeys, now: () => number) {
    this.trustDomain = trustDomain;
    this.#keys = keys;
    this.#now = now;
  }

  static async open(
    folder: KeysFolder,
    trustDomain: TrustDomain,
    now: () => number,
  ): Promise<CertificateAuthority> {
    return new CertificateAuthority(trustDomain, await CaKeys.open(folder, trustDomain, now), now);
  }

  /** What others trust: the root alone, or two of them while one takes the other's place. */
  get bundlePem(): string {
    return this.#keys.bundlePem;
  }

  get certificates(): CaCertificates {
    return this.#keys.certificates;
  }

  async rotateIssuing(): Promise<void> {
    await this.#keys.rotateIssuing();
  }

  /** The step that comes after it. */
  async rotateRoot(step: RootStep): Promise<RootPhase> {
    await this.#keys.rotateRoot(step);
    return this.#keys.phase;
  }

  get rootPhase(): RootPhase {
    return this.#keys.phase;
  }

  /** Nothing of the request's CSR but the public key gets into the certificate. */
  async issue(request: SvidRequest): Promise<IssuedSvid> {
    const id = this.#checkedId(request.spiffeId);
    checkDnsNames(id, request.dnsNames);
    const ttl = Math.trunc(request.ttlSeconds);
    if (ttl < 1 || ttl * second > limits.certificateLifetime.value) {
      throw invalid('the lifetime', `1 to ${limits.certificateLifetime.value / second} seconds`);
    }
    const publicKey = await publicKeyOf(request.csrPem);
    // The back-dating is for clocks that differ a little; it is part of the lifetime and never adds to it.
    const backdated = Math.min(limits.certificateBackdate.value / second, Math.floor(ttl / 10));
    const notBefore = new Date((Math.floor(this.#now() / second) - backdated) * second);
    const notAfter = new Date(notBefore.getTime() + ttl * second);
    const { certificate: issuer, key } = this.#keys.issuing;
    if (notAfter > issuer.notAfter)
      throw damaged('the issuing certificate ends too soon: restart the signer');
    const serial = newSerial();
    const names = [
      { type: 'url', value: id } as const,
      ...request.dnsNames.map((value) => ({ type: 'dns', value }) as const),
    ];
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: 'O=Glovebox',
      issuer: issuer.subjectName,
      notBefore,
      notAfter,
      publicKey,
      signingKey: key,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension(names, true),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ],
    });
    return { chainPem: `${leaf.toString('pem')}\n${issuer.toString('pem')}\n`, serial, notAfter };
  }

  #checkedId(text: string): SpiffeId {
    const parsed = parseIdentity(text);
    if (!parsed.ok) throw invalid('the SPIFFE ID', parsed.reason);
    if (parsed.value.trustDomain !== this.trustDomain) {
      throw invalid('the SPIFFE ID', `the signer issues for ${this.trustDomain} only`);
    }
    return parsed.value.id;
  }
}

function checkDnsNames(id: SpiffeId, names: readonly string[]): void {
  if (names.length === 0) return;
  if (!serverKinds.includes(identityOf(id).kind)) {
    throw invalid('the certificate request', 'a DNS name is for servers only');
  }
  const permitted: readonly string[] = permittedDnsNames;
  for (const name of names)
    if (!permitted.includes(name)) throw invalid('the DNS name', 'it is not permitted');
}

const damaged = (detail: string): GloveboxError => new GloveboxError('GB_KEYS_DAMAGED', { detail });
const invalid = (what: string, detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what, detail });
