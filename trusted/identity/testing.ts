import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Clock } from './clock.ts';
import { readSvid } from './certificate.ts';
import { X509Certificate } from 'node:crypto';
import type { SvidMaterial } from './svid.ts';
import type { TlsIdentity } from './tls.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** For tests of any room: time that moves when it is told to. */
export class TestClock implements Clock {
  #now: number;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  constructor(now = Date.now()) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  schedule(afterMs: number, run: () => void): () => void {
    const timer = { at: this.#now + afterMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** When the next timer is due. */
  get next(): number | undefined {
    return this.#timers.length === 0 ? undefined : Math.min(...this.#timers.map(({ at }) => at));
  }

  /** Runs what falls due, in order; what that schedules runs in a later call. */
  advanceTo(time: number): void {
    this.#now = Math.max(this.#now, time);
    const due = this.#timers.filter(({ at }) => at <= this.#now).sort((a, b) => a.at - b.at);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { run } of due) run();
  }

  advance(ms: number): void {
    this.advanceTo(this.#now + ms);
  }
}

export interface Wanted {
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  /** Whole, instead of one of `uris` and `dns`. */
  readonly names?: readonly x509.Extension[];
  readonly subject?: string;
  readonly usages?: readonly x509.ExtendedKeyUsage[];
  readonly keyUsage?: x509.KeyUsageFlags;
  readonly ca?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Of a CSR; a new key is made otherwise. */
  readonly publicKey?: x509.PublicKey;
}

export interface Minted {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
}

/** For tests of any room: a CA that signs whatever it is asked to, as ours never does. */
export class TestAuthority {
  readonly bundlePem: string;
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: x509.X509Certificate;

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: x509.X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
    this.bundlePem = certificate.toString('pem');
  }

  static async create(name = 'CN=Test root'): Promise<TestAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name,
      keys,
      signingAlgorithm: algorithm,
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 86_400_000),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestAuthority(keys, certificate);
  }

  async mint(wanted: Wanted): Promise<Minted> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const chainPem = await this.#sign(wanted, wanted.publicKey ?? keys.publicKey);
    const keyPem = key.export({ format: 'pem', type: 'pkcs8' }).toString();
    return { keyPem, chainPem, bundlePem: this.bundlePem };
  }

  async #sign(wanted: Wanted, publicKey: x509.PublicKeyType): Promise<string> {
    const names = [
      ...(wanted.uris ?? []).map((value) => ({ type: 'url', value }) as const),
      ...(wanted.dns ?? []).map((value) => ({ type: 'dns', value }) as const),
    ];
    const both = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth];
    const certificate = await x509.X509CertificateGenerator.create({
      subject: wanted.subject ?? 'O=Glovebox',
      issuer: this.#certificate.subjectName,
      notBefore: wanted.notBefore ?? new Date(Date.now() - 10_000),
      notAfter: wanted.notAfter ?? new Date(Date.now() + 290_000),
      publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(wanted.ca ?? false, undefined, true),
        new x509.KeyUsagesExtension(wanted.keyUsage ?? x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([...(wanted.usages ?? both)]),
        ...(wanted.names ?? (names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)])),
      ],
    });
    return certificate.toString('pem');
  }

  /** A good certificate of that identity, as an SvidSource that never renews. */
  async source(id: string): Promise<TlsIdentity> {
    return fixedSource(await this.mint({ uris: [id] }));
  }

  /** Signs a CSR's key for that identity: what an SvidSource is given as `issue`. */
  async answer(csrPem: string, wanted: Wanted): Promise<{ chainPem: string; bundlePem: string }> {
    const { chainPem, bundlePem } = await this.mint({
      ...wanted,
      publicKey: new x509.Pkcs10CertificateRequest(csrPem).publicKey,
    });
    return { chainPem, bundlePem };
  }
}

export function fixedSource(minted: Minted): TlsIdentity {
  const read = readSvid(new X509Certificate(minted.chainPem), 'client');
  if (!read.ok) throw new Error(read.reason);
  const svid: SvidMaterial = { ...minted, id: read.value.identity.id, ...read.value };
  return { current: () => svid, onRotate: () => () => undefined };
}
