import ipaddr from 'ipaddr.js';

/** `public`, or why an address is refused (R18). */
export type AddressClass = 'public' | 'private' | 'unreadable';

/** Ranges that ipaddr.js calls unicast, but that lead inside or carry an IPv4 address. */
const more: readonly [string, 'refuse' | number][] = [
  ['::/96', 'refuse'], // IPv4-compatible, unspecified, loopback
  ['64:ff9b::/96', 12], // NAT64 (RFC 6052): the IPv4 address is at byte 12
  ['64:ff9b:1::/48', 'refuse'], // local-use NAT64 (RFC 8215)
  ['2002::/16', 2], // 6to4 (RFC 3056)
  ['2001::/32', 'refuse'], // Teredo
  ['fec0::/10', 'refuse'], // site-local (deprecated)
  ['100::/64', 'refuse'], // discard
  ['2001:db8::/32', 'refuse'], // documentation
  ['3fff::/20', 'refuse'], // documentation
  ['5f00::/16', 'refuse'], // SRv6 SIDs
  ['::ffff:0:0:0/96', 'refuse'], // IPv4-translated
];

/** Is this address one of the public Internet's? Strict four-part decimal or RFC 4291 text only, as `getaddrinfo` returns it. */
export function classifyAddress(text: string): AddressClass {
  if (ipaddr.IPv4.isValidFourPartDecimal(text))
    return ipaddr.IPv4.parse(text).range() === 'unicast' ? 'public' : 'private';
  if (!ipaddr.IPv6.isValid(text)) return 'unreadable';
  const address = ipaddr.IPv6.parse(text);
  if (address.zoneId !== undefined) return 'private';
  if (address.isIPv4MappedAddress()) return classifyAddress(address.toIPv4Address().toString());
  for (const [range, embedded] of more) {
    if (!address.match(ipaddr.IPv6.parseCIDR(range))) continue;
    if (embedded === 'refuse') return 'private';
    return classifyAddress(
      address
        .toByteArray()
        .slice(embedded, embedded + 4)
        .join('.'),
    );
  }
  // ISATAP (RFC 5214): ::0:5efe:a.b.c.d in the interface identifier.
  const [, , , , g4, g5] = address.parts;
  if ((g4 === 0 || g4 === 0x200) && g5 === 0x5efe) return 'private';
  // Global unicast is 2000::/3; nothing else is of the public Internet.
  if (((address.parts[0] ?? 0) & 0xe000) !== 0x2000) return 'private';
  return address.range() === 'unicast' ? 'public' : 'private';
}

/** May a rule connect here: a public address, or one in a range that the rule names. */
export function addressAllowed(text: string, privateRanges: readonly string[]): boolean {
  if (classifyAddress(text) === 'public') return true;
  if (privateRanges.length === 0 || !ipaddr.isValid(text)) return false;
  const address = ipaddr.process(text);
  return privateRanges.some((range) => {
    if (!ipaddr.isValidCIDR(range)) return false;
    const [base, bits] = ipaddr.parseCIDR(range);
    return (
      base.kind() === address.kind() &&
      address.match([base, bits] as [ipaddr.IPv4, number] & [ipaddr.IPv6, number])
    );
  });
}
