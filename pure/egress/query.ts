import { matchText } from './glob.ts';

/**
 * A rule's `query`: the keys that a request may have, each at most once, and what their value may be. Null: it fits. What servers
 * read in different ways (`;` as a separator, brackets, empty keys, broken encodings) does not fit a rule that looks at the query.
 */
export function queryProblem(
  allowed: Readonly<Record<string, string>> | undefined,
  query: string,
): string | null {
  if (allowed === undefined || query === '' || query === '?') return null;
  const seen = new Set<string>();
  for (const pair of query.slice(1).split('&')) {
    if (pair.includes(';')) return 'the query has a semicolon, which some servers take for a separator';
    const at = pair.indexOf('=');
    const key = decoded(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? '' : decoded(pair.slice(at + 1));
    if (key === null || value === null) return 'the query has a broken percent-encoding';
    if (!/^[A-Za-z0-9_.~-]{1,100}$/.test(key)) return 'a query key has characters that rules do not name';
    if (seen.has(key)) return `the query has ${key} more than once`;
    seen.add(key);
    const pattern = Object.hasOwn(allowed, key) ? allowed[key] : undefined;
    if (pattern === undefined) return `the rule does not allow the query key ${key}`;
    if (!matchText(pattern, value)) return `the rule does not allow that value of the query key ${key}`;
  }
  return null;
}

function decoded(text: string): string | null {
  try {
    const value = decodeURIComponent(text.replaceAll('+', ' '));
    return /[\p{Cc}]/u.test(value) ? null : value;
  } catch {
    return null;
  }
}
