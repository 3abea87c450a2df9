import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { parseIdentity, type Identity, type Parsed } from '../../pure/contracts/index.ts';

const oid = {
  san: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
};

/** What a peer's certificate is presented for. */
export type PeerRole = 'client' | 'server';

export interface SvidFacts {
  readonly identity: Identity;
  /** Lower-case hex without separators. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/**
 * The identity that a leaf certificate states, by the X509-SVID standard (sections 2 to 5): exactly one URI SAN, a leaf,
 * for signing, for its role. The subject is not read: a CN that looks like an ID is no ID. Whether the certificate is
 * to be believed is the chain's matter, which TLS has verified before.
 */
export function readSvid(certificate: X509Certificate, role: PeerRole): Parsed<SvidFacts> {
  let parsed: x509.X509Certificate;
  try {
    parsed = new x509.X509Certificate(certificate.raw);
  } catch (error) {
    return refused(`the certificate cannot be read (${error instanceof Error ? error.name : 'unknown'})`);
  }
  // RFC 5280 section 4.2: an extension occurs once. Two readers that each take another one would disagree.
  const types = parsed.extensions.map((extension) => extension.type);
  if (new Set(types).size !== types.length) return refused('an extension occurs twice');
  const constraints = parsed.getExtension<x509.BasicConstraintsExtension>(oid.basicConstraints);
  if (constraints?.ca === true) return refused('it is the certificate of a CA');
  const usage = parsed.getExtension<x509.KeyUsagesExtension>(oid.keyUsage)?.usages ?? 0;
  if ((usage & x509.KeyUsageFlags.digitalSignature) === 0) return refused('it is not for signing');
  if ((usage & (x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign)) !== 0) {
    return refused('it may sign certificates');
  }
  const wanted = role === 'client' ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth;
  const purposes = parsed.getExtension<x509.ExtendedKeyUsageExtension>(oid.extendedKeyUsage)?.usages ?? [];
  if (!purposes.includes(wanted)) return refused(`it is not for a ${role}`);
  const names = parsed.getExtension<x509.SubjectAlternativeNameExtension>(oid.san)?.names.items ?? [];
  const uris = names.filter((name) => name.type === 'url');
  const [uri] = uris;
  if (uri === undefined || uris.length !== 1)
    return refused(`it has ${uris.length} URI names instead of one`);
  const identity = parseIdentity(uri.value);
  if (!identity.ok) return refused(`its URI is no identity: ${identity.reason}`);
  return {
    ok: true,
    value: {
      identity: identity.value,
      serial: certificate.serialNumber.toLowerCase(),
      notBefore: parsed.notBefore,
      notAfter: parsed.notAfter,
    },
  };
}

const refused = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });
