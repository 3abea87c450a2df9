/**
 * Scopes: `domain:verb:/path`. A pattern is one too, with `*` in a segment for any characters of that segment, `**` as a
 * whole segment, once, for any number of segments (none too, so `/shared/**` takes `/shared` in), `*` for any verb, and no
 * path for every path. In a scope, `%` and `*` of a path are escaped, so that no file's name is ever read as a pattern.
 */
export interface ScopePattern {
  readonly domain: string;
  /** Null: any. */
  readonly verb: string | null;
  /** From the start, up to `**` where there is one. */
  readonly prefix: readonly string[];
  /** After `**`, from the end. Null: there is no `**`, the depth is that of the prefix. */
  readonly suffix: readonly string[] | null;
}

export interface Scope {
  readonly domain: string;
  readonly verb: string;
  readonly segments: readonly string[];
}

const whole = /^([a-z][a-z0-9-]{0,63}):([a-z][a-z0-9-]{0,63}|\*)(?::(\/.*))?$/su;
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\\]/u;

function split(text: string): { domain: string; verb: string; segments: string[] | undefined } | undefined {
  if (text.length > 4096 || unsafe.test(text)) return undefined;
  const [, domain, verb, path] = whole.exec(text) ?? [];
  if (domain === undefined || verb === undefined) return undefined;
  if (path === undefined) return { domain, verb, segments: undefined };
  const segments = path === '/' ? [] : path.slice(1).split('/');
  return segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..')
    ? { domain, verb, segments }
    : undefined;
}

/** Undefined: not a scope. One with a wildcard is a pattern and not a scope. */
export function parseScope(text: string): Scope | undefined {
  const parts = split(text);
  if (parts?.segments === undefined || text.includes('*')) return undefined;
  return { domain: parts.domain, verb: parts.verb, segments: parts.segments };
}

export function parseScopePattern(text: string): ScopePattern | undefined {
  const parts = split(text);
  if (parts === undefined) return undefined;
  const verb = parts.verb === '*' ? null : parts.verb;
  const { domain, segments } = parts;
  if (segments === undefined) return { domain, verb, prefix: [], suffix: [] };
  const deep = segments.indexOf('**');
  const before = deep === -1 ? segments : segments.slice(0, deep);
  const after = deep === -1 ? null : segments.slice(deep + 1);
  // A second `**`, or one within a segment, has no meaning of its own here: not a pattern.
  if ([...before, ...(after ?? [])].some((segment) => segment.includes('**'))) return undefined;
  return { domain, verb, prefix: before, suffix: after };
}

/** Neither a pattern nor a scope that cannot be read ever matches. */
export function scopeMatches(pattern: string, scope: string): boolean {
  const wanted = parseScopePattern(pattern);
  const given = parseScope(scope);
  return wanted !== undefined && given !== undefined && matches(wanted, given);
}

function matches(pattern: ScopePattern, scope: Scope): boolean {
  if (pattern.domain !== scope.domain || (pattern.verb !== null && pattern.verb !== scope.verb)) return false;
  const { prefix, suffix } = pattern;
  const { segments } = scope;
  if (suffix === null ? segments.length !== prefix.length : segments.length < prefix.length + suffix.length)
    return false;
  const end = segments.length - (suffix?.length ?? 0);
  return (
    prefix.every((wanted, index) => segmentMatches(wanted, segments[index] ?? '')) &&
    (suffix ?? []).every((wanted, index) => segmentMatches(wanted, segments[end + index] ?? ''))
  );
}

/** Without backtracking: an agent may ask for any pattern. */
function segmentMatches(wanted: string, given: string): boolean {
  const [first = '', ...rest] = wanted.split('*');
  const last = rest.pop();
  if (last === undefined) return wanted === given;
  if (given.length < first.length + last.length || !given.startsWith(first) || !given.endsWith(last))
    return false;
  let at = first.length;
  for (const part of rest) {
    const found = given.indexOf(part, at);
    if (found === -1 || found + part.length > given.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * Is everything that `requested` (a scope or a pattern) takes in also taken in by `pattern`? May say no where the truth is
 * yes, never the other way round.
 */
export function scopeCovers(pattern: string, requested: string): boolean {
  const wide = parseScopePattern(pattern);
  const narrow = parseScopePattern(requested);
  if (wide === undefined || narrow === undefined || wide.domain !== narrow.domain) return false;
  if (wide.verb !== null && wide.verb !== narrow.verb) return false;
  if (narrow.suffix === null) {
    // `*` in the narrower one's segments is taken as a character: only a `*` of the wider one takes it in.
    return matches(
      { ...wide, verb: null },
      { domain: narrow.domain, verb: narrow.verb ?? '', segments: narrow.prefix },
    );
  }
  // The narrower one is of any depth: the wider one must be too, and ask for nothing after its `**`.
  if (wide.suffix === null || wide.suffix.length > 0 || wide.prefix.length > narrow.prefix.length)
    return false;
  return wide.prefix.every((wanted, index) => segmentMatches(wanted, narrow.prefix[index] ?? ''));
}

/** Does the pattern speak of this domain and verb at all? */
export function scopeConcerns(pattern: string, domain: string, verb: string): boolean {
  const parsed = parseScopePattern(pattern);
  return parsed !== undefined && parsed.domain === domain && (parsed.verb === null || parsed.verb === verb);
}
