import { matchText } from './glob.ts';
import type { Normalised } from './host.ts';

const refuse = (why: string): Normalised => ({ ok: false, why });

/**
 * A request path (RFC 3986, origin form, without its query) that every server reads the same way. Nothing is resolved or decoded
 * away: what could mean two things is refused. Percent-encodings of unreserved characters are decoded (RFC 3986 section 6.2.2.2).
 */
export function normalisePath(text: string): Normalised {
  if (!text.startsWith('/')) return refuse('a path starts with /');
  if (text.length > 8192) return refuse('the path is longer than 8192 characters');
  if (!/^[\x21-\x7e]*$/.test(text)) return refuse('the path has characters that belong percent-encoded');
  if (/[\\#?]/.test(text)) return refuse('the path has a backslash, # or ?');
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return refuse('the path has a broken percent-encoding');
  // Control bytes, slash, backslash, percent (double encoding), dot and semicolon: read differently by different servers.
  if (/%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc]|25|2[Ee]|3[Bb])/.test(text))
    return refuse('the path has an ambiguous percent-encoding');
  if (!isUtf8(text)) return refuse('the path has percent-encodings that are not UTF-8');
  const path = text
    .replace(/%[0-9A-Fa-f]{2}/g, (code) => code.toUpperCase())
    .replace(/%(?:4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE]|3[0-9]|2D)/g, (code) => {
      const character = String.fromCharCode(parseInt(code.slice(1), 16));
      return /[A-Za-z0-9_~-]/.test(character) ? character : code;
    });
  const segments = path.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return refuse('the path has relative segments');
  // `..;x` is `..` to some servlet containers.
  if (segments.some((segment) => /^\.{1,2};/.test(segment)))
    return refuse('the path has relative segments with parameters');
  if (segments.slice(0, -1).includes('')) return refuse('the path has an empty segment');
  return { ok: true, value: path };
}

function isUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** `*` within one segment, `**` (a whole segment) any number of segments, also none. Linear in the path (no backtracking blow-up). */
export function matchPath(pattern: string, path: string): boolean {
  const wanted = pattern.slice(1).split('/');
  const given = path.slice(1).split('/');
  // reachable[j]: the pattern up to here can match the first j segments.
  let reachable = new Set<number>([0]);
  for (const part of wanted) {
    const next = new Set<number>();
    if (part === '**') {
      const first = Math.min(...reachable);
      for (let j = first; j <= given.length; j += 1) next.add(j);
    } else {
      for (const j of reachable) if (j < given.length && matchText(part, given[j] ?? '')) next.add(j + 1);
    }
    if (next.size === 0) return false;
    reachable = next;
  }
  return reachable.has(given.length);
}
