import 'reflect-metadata';
import { SubjectAlternativeNameExtension, X509Certificate } from '@peculiar/x509';
import { GloveboxError, parseIdentity } from '../../pure/contracts/index.ts';
import type { CertificateIdentity } from './authorizer.ts';

/** PEM or DER. Throws on any doubt; the caller denies. */
export type CertificateReader = (certificate: string | Uint8Array) => CertificateIdentity;

const subjectAltName = '2.5.29.17';

/** X.509-SVID section 2: exactly one URI SAN, which is the SPIFFE ID. DNS names are permitted beside it and say nothing. */
export const readCertificate: CertificateReader = (certificate) => {
  const parsed = new X509Certificate(
    typeof certificate === 'string' ? certificate : new Uint8Array(certificate),
  );
  const extensions = parsed.extensions.filter((extension) => extension.type === subjectAltName);
  const [extension] = extensions;
  if (extensions.length !== 1 || !(extension instanceof SubjectAlternativeNameExtension)) {
    throw refused('it has not exactly one subject alternative name extension');
  }
  const uris = extension.names.toJSON().filter((name) => name.type === 'url');
  const [uri] = uris;
  if (uris.length !== 1 || uri === undefined) throw refused('it has not exactly one URI name');
  const identity = parseIdentity(uri.value);
  if (!identity.ok) throw refused(identity.reason);
  return {
    identity: identity.value,
    serial: parsed.serialNumber.toLowerCase(),
    notBefore: parsed.notBefore,
    notAfter: parsed.notAfter,
  };
};

const refused = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The certificate', detail });
