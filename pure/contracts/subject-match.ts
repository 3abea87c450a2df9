/**
 * NATS subject matching as the server does it (tokens between dots, `*` one token, `>` one or more at the end), so that
 * the registry, its documents and the verifier can say without a server who reaches what. A model test compares both.
 */

/** Does a permission or subscription `pattern` take in `subject`? A wildcard in `subject` is only taken in by a wider one. */
export function matches(pattern: string, subject: string): boolean {
  if (!isPattern(pattern) || !isPattern(subject)) return false;
  const wanted = pattern.split('.');
  const given = subject.split('.');
  for (const [index, token] of wanted.entries()) {
    const there = given[index];
    if (there === undefined) return false;
    if (token === '>') return true;
    if (token === '*') {
      if (there === '>') return false;
      continue;
    }
    if (token !== there) return false;
  }
  return wanted.length === given.length;
}

/** A well-formed subject or pattern: no empty token, no white space or control character, `>` only at the end. */
export function isPattern(text: string): boolean {
  if (text.length === 0 || text.length > 512 || /[\p{Cc}\p{Z}]/u.test(text)) return false;
  const tokens = text.split('.');
  return tokens.every((token, index) => token.length > 0 && (token !== '>' || index === tokens.length - 1));
}

/** A subject that can be published to: a pattern without a wildcard token. */
export const isSubject = (text: string): boolean =>
  isPattern(text) && text.split('.').every((token) => token !== '*' && token !== '>');

/** Can one message reach both patterns? The verifier's question; symmetric. */
export function overlaps(a: string, b: string): boolean {
  if (!isPattern(a) || !isPattern(b)) return false;
  const left = a.split('.');
  const right = b.split('.');
  const length = Math.max(left.length, right.length);
  for (let index = 0; index < length; index += 1) {
    const x = left[index];
    const y = right[index];
    if (x === undefined || y === undefined) return false;
    if (x === '>' || y === '>') return true;
    if (x !== '*' && y !== '*' && x !== y) return false;
  }
  return true;
}
