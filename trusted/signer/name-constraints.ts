import * as x509 from '@peculiar/x509';

const nameConstraintsOid = '2.5.29.30';

/**
 * RFC 5280 section 4.2.1.10: below this CA only URIs of the trust domain and the given DNS names are valid, so even a
 * stolen issuing key makes no certificate that another domain's verifier takes.
 */
export function nameConstraints(trustDomain: string, dnsNames: readonly string[]): x509.Extension {
  const bases = [
    new x509.GeneralName('url', trustDomain),
    ...dnsNames.map((name) => new x509.GeneralName('dns', name)),
  ];
  const subtrees = bases.map((base) => tlv(0x30, Buffer.from(base.rawData)));
  const permitted = tlv(0xa0, Buffer.concat(subtrees));
  return new x509.Extension(nameConstraintsOid, true, tlv(0x30, permitted));
}

/** One DER element of up to 65,535 bytes: the library has the general names, but not this extension around them. */
function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
