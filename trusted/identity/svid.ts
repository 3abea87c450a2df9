import { createPrivateKey, X509Certificate } from 'node:crypto';
import { GloveboxError, type Identity, type SpiffeId } from '../../pure/contracts/index.ts';
import { readSvid } from './certificate.ts';

/** A certificate with its key, as its holder keeps it in memory. */
export interface SvidMaterial {
  readonly keyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
  readonly bundlePem: string;
  readonly id: SpiffeId;
  readonly identity: Identity;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** What an issuer answers. */
export interface SvidAnswer {
  readonly chainPem: string;
  readonly bundlePem: string;
}

/** The answer with its key, once it is known to be ours, signed by the bundle, and of the identity that we had. */
export function checkedSvid(
  keyPem: string,
  answer: SvidAnswer,
  expected: SpiffeId | undefined,
): SvidMaterial {
  const chain = certificatesOf(answer.chainPem);
  const bundle = certificatesOf(answer.bundlePem);
  const [leaf] = chain;
  if (leaf === undefined) throw refused('there is no certificate');
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw refused('it is for another key');
  const top = chain.reduce((below, above) => {
    if (below !== above && !signedBy(below, above)) throw refused('its chain is broken');
    return above;
  }, leaf);
  if (!bundle.some((root) => signedBy(top, root)))
    throw refused('its chain does not end in the trust bundle');
  const read = readSvid(leaf, 'client');
  if (!read.ok) throw refused(read.reason);
  const { identity, serial, notBefore, notAfter } = read.value;
  if (expected !== undefined && identity.id !== expected) throw refused(`it is for ${identity.id}`);
  return { keyPem, ...answer, id: identity.id, identity, serial, notBefore, notAfter };
}

const signedBy = (below: X509Certificate, above: X509Certificate): boolean =>
  below.checkIssued(above) && below.verify(above.publicKey);

const certificatesOf = (pem: string): X509Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (one) => new X509Certificate(one),
  );

const refused = (detail: string): GloveboxError =>
  new GloveboxError('GB_IDENTITY_REFUSED', { detail: `the issued certificate is not good: ${detail}` });
