export type Normalised =
  { readonly ok: true; readonly value: string } | { readonly ok: false; readonly why: string };

const refuse = (why: string): Normalised => ({ ok: false, why });
const label = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;

/**
 * A host name in its one spelling: lower-case letters, digits and hyphens (RFC 1123; IDNA only as `xn--`). Refused: IP literals
 * in every notation that a resolver or the WHATWG URL parser takes for an address, a trailing dot, and everything else (R18).
 */
export function normaliseHost(text: string): Normalised {
  if (text.length === 0 || text.length > 253) return refuse('a host name has 1 to 253 characters');
  // Printable ASCII first: the case mapping of other characters (U+212A, U+0130) would make a letter of ours.
  if (!/^[\x21-\x7e]+$/.test(text))
    return refuse('a host name is ASCII; international names are written as xn--');
  const host = text.toLowerCase();
  if (host.endsWith('.')) return refuse('a host name has no dot at its end');
  const labels = host.split('.');
  if (!labels.every((part) => label.test(part)))
    return refuse('a host name is labels of letters, digits and hyphens');
  // A name whose last label is a number is an address to the URL Standard (section 3.5, "ends in a number").
  const last = labels.at(-1) ?? '';
  if (/^[0-9]+$/.test(last) || /^0x[0-9a-f]*$/.test(last))
    return refuse('an address is not a name; rules are for names');
  return { ok: true, value: host };
}

/** `*.x` is exactly one label, `**.x` one or more; neither is `x` itself. Both sides are normalised. */
export function matchHost(pattern: string, host: string): boolean {
  if (pattern.startsWith('**.')) return host.endsWith(pattern.slice(2)) && host.length > pattern.length - 2;
  if (!pattern.startsWith('*.')) return host === pattern;
  const suffix = pattern.slice(1);
  return host.endsWith(suffix) && host.length > suffix.length && !host.slice(0, -suffix.length).includes('.');
}
