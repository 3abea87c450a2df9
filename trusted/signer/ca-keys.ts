import 'reflect-metadata';
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { GloveboxError, limits, type TrustDomain } from '../../pure/contracts/index.ts';
import type { KeysFolder } from './keys-folder.ts';
import { nameConstraints } from './name-constraints.ts';

export const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** The one DNS name that servers on one machine may have: nats.js compares it even where it dials 127.0.0.1. */
export const permittedDnsNames = ['localhost'] as const;

export interface CaKey {
  readonly certificate: x509.X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

export interface Root {
  readonly certificatePem: string;
  /** As it is in its file. */
  readonly stored: string;
  /** Asked for only when an issuing CA has to be signed: without its passphrase the root is offline. */
  readonly unlock: () => Promise<CaKey>;
}

export const rootFiles = {
  current: 'root.pem',
  next: 'root-next.pem',
  previous: 'root-previous.pem',
} as const;

export async function openRoot(
  folder: KeysFolder,
  trustDomain: TrustDomain,
  now: () => number,
): Promise<Root> {
  const stored = folder.read(rootFiles.current) ?? (await createRoot(folder, trustDomain, now));
  return rootOf(stored, folder, trustDomain);
}

/** The root that is announced and does not sign yet, if there is one. */
export function openNextRoot(folder: KeysFolder, trustDomain: TrustDomain): Root | undefined {
  const stored = folder.read(rootFiles.next);
  return stored === undefined ? undefined : rootOf(stored, folder, trustDomain);
}

function rootOf(stored: string, folder: KeysFolder, trustDomain: TrustDomain): Root {
  const certificatePem = block(stored, 'CERTIFICATE');
  const certificate = new x509.X509Certificate(certificatePem);
  if (!certificate.subjectName.getField('CN').includes(caName(trustDomain, 'root'))) {
    throw damaged(`the root certificate is not of the trust domain ${trustDomain}`);
  }
  const unlock = async (): Promise<CaKey> => {
    const passphrase = folder.read('root.passphrase')?.trim();
    if (passphrase === undefined)
      throw damaged('the root is offline: put root.passphrase back to renew the CA');
    return { certificate, key: await importKey(block(stored, 'ENCRYPTED PRIVATE KEY'), passphrase) };
  };
  return { certificatePem, stored, unlock };
}

export async function createRoot(
  folder: KeysFolder,
  trustDomain: TrustDomain,
  now: () => number,
  file: string = rootFiles.current,
): Promise<string> {
  // The passphrase first: a crash between the two leaves a passphrase that the next start uses, never a locked root.
  let passphrase = folder.read('root.passphrase')?.trim();
  if (passphrase === undefined) {
    passphrase = randomBytes(32).toString('base64url');
    folder.write('root.passphrase', `${passphrase}\n`);
  }
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: `CN=${caName(trustDomain, 'root')}, O=Glovebox`,
    notBefore: new Date(now() - limits.certificateBackdate.value),
    notAfter: new Date(now() + limits.rootLifetime.value),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const stored = `${certificate.toString('pem')}\n${await exportKey(keys.privateKey, passphrase)}`;
  folder.write(file, stored);
  return stored;
}

/** The kept issuing CA, while it has more than a third of its life left; which of the roots signed it is in its chain. */
export async function openIssuing(
  folder: KeysFolder,
  roots: readonly Root[],
  now: () => number,
): Promise<CaKey | undefined> {
  const stored = folder.read('issuing.pem');
  if (stored === undefined) return undefined;
  const certificate = new x509.X509Certificate(block(stored, 'CERTIFICATE'));
  const keyPem = block(stored, 'PRIVATE KEY');
  if (!roots.some((root) => isSignedBy(certificate, root)))
    throw damaged('the issuing certificate is not signed by the root beside it');
  if (!new X509Certificate(certificate.toString('pem')).checkPrivateKey(createPrivateKey(keyPem)))
    throw damaged('the issuing key is of another certificate');
  if (certificate.notAfter.getTime() - now() <= limits.issuingLifetime.value / 3) return undefined;
  return { certificate, key: await importKey(keyPem) };
}

export function isSignedBy(certificate: x509.X509Certificate, root: Root): boolean {
  const issuing = new X509Certificate(certificate.toString('pem'));
  const anchor = new X509Certificate(root.certificatePem);
  return issuing.checkIssued(anchor) && issuing.verify(anchor.publicKey);
}

export async function createIssuing(
  folder: KeysFolder,
  trustDomain: TrustDomain,
  root: CaKey,
  now: () => number,
): Promise<CaKey> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: `CN=${caName(trustDomain, 'issuing')}, O=Glovebox`,
    issuer: root.certificate.subjectName,
    notBefore: new Date(now() - limits.certificateBackdate.value),
    notAfter: new Date(Math.min(now() + limits.issuingLifetime.value, root.certificate.notAfter.getTime())),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: root.key,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      nameConstraints(trustDomain, permittedDnsNames),
      await x509.AuthorityKeyIdentifierExtension.create(root.certificate.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  folder.write('issuing.pem', `${certificate.toString('pem')}\n${await exportKey(keys.privateKey)}`);
  return { certificate, key: keys.privateKey };
}

const caName = (trustDomain: TrustDomain, role: 'root' | 'issuing'): string =>
  `Glovebox ${role} CA of ${trustDomain}`;

/** 128 random bits, positive and without leading zeros, so that its hex form is the same everywhere. */
export function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);

async function exportKey(key: webcrypto.CryptoKey, passphrase?: string): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const object = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const sealed = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  return object.export({ format: 'pem', type: 'pkcs8', ...sealed }).toString();
}

async function importKey(pem: string, passphrase?: string): Promise<webcrypto.CryptoKey> {
  const object = createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  const der = object.export({ format: 'der', type: 'pkcs8' });
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}

export function block(pem: string, label: string): string {
  const found = new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`).exec(pem);
  if (found === null) throw damaged(`a file lacks its ${label}`);
  return found[0];
}

const damaged = (detail: string): GloveboxError => new GloveboxError('GB_KEYS_DAMAGED', { detail });
