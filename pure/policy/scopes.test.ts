import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scopeCovers, scopeMatches } from './scopes.ts';

describe('scopes', () => {
  it.each([
    ['files:read:/shared/**', 'files:read:/shared/a/b.md', true],
    ['files:read:/shared/**', 'files:read:/shared', true],
    ['files:read:/shared/**', 'files:read:/sharedx', false],
    ['files:read:/shared/**', 'files:write:/shared/a', false],
    ['files:read:/shared/*', 'files:read:/shared/a', true],
    ['files:read:/shared/*', 'files:read:/shared/a/b', false],
    ['files:read:/shared/*', 'files:read:/shared', false],
    ['files:read:/**/*.md', 'files:read:/a/b/c.md', true],
    ['files:read:/**/*.md', 'files:read:/a/b/c.txt', false],
    ['files:*:/a', 'files:write:/a', true],
    ['files:read', 'files:read:/any/thing', true],
    ['files:read:/', 'files:read:/', true],
    ['files:read:/', 'files:read:/a', false],
    ['files:read:/a', 'files:read:/*', false],
    ['files:read:/**', 'files:read:/a/../b', false],
    ['files:read:/**', 'files:read:/a//b', false],
    ['files:read:/**/a/**', 'files:read:/a', false],
    ['nonsense', 'files:read:/a', false],
    ['', '', false],
  ])('%s on %s: %s', (pattern, scope, expected) => {
    expect(scopeMatches(pattern, scope)).toBe(expected);
  });

  it('a pattern of stars takes no longer than its length', () => {
    const pattern = `files:read:/${'a*'.repeat(800)}b`;
    expect(scopeMatches(pattern, `files:read:/${'a'.repeat(3000)}`)).toBe(false);
  });

  it('[R40] what covers a request takes in whatever the request takes in', () => {
    const seg = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '**');
    const pattern = fc.array(seg, { maxLength: 4 }).map((parts) => `files:read:/${parts.join('/')}`);
    const scope = fc
      .array(fc.constantFrom('a', 'b', 'ab', 'c'), { maxLength: 5 })
      .map((p) => `files:read:/${p.join('/')}`);
    let covered = 0;
    fc.assert(
      fc.property(
        pattern,
        pattern,
        fc.array(scope, { minLength: 10, maxLength: 30 }),
        (wide, narrow, scopes) => {
          if (!scopeCovers(wide, narrow)) return;
          covered += 1;
          for (const one of scopes) if (scopeMatches(narrow, one)) expect(scopeMatches(wide, one)).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
    expect(covered).toBeGreaterThan(50);
  });

  it('[R35] a wider scope is never implied by a narrower one', () => {
    const seg = fc.constantFrom('a', 'b', 'ab', '*', 'a*');
    const verb = fc.constantFrom('read', 'write');
    const exact = fc
      .tuple(verb, fc.array(fc.constantFrom('a', 'b', 'ab', '%2A'), { minLength: 1, maxLength: 4 }))
      .map(([v, parts]) => `files:${v}:/${parts.join('/')}`);
    const wider = fc
      .tuple(fc.constantFrom('read', 'write', '*'), fc.array(seg, { maxLength: 4 }), fc.boolean())
      .map(([v, parts, deep]) => `files:${v}:/${[...parts, ...(deep ? ['**'] : [])].join('/')}`);
    fc.assert(
      fc.property(exact, exact, (one, other) => {
        // Without a wildcard a scope is itself and nothing else: no prefix, no parent, no child, no other verb.
        expect(scopeMatches(one, other)).toBe(one === other);
        expect(scopeCovers(one, other)).toBe(one === other);
      }),
      { numRuns: 3000 },
    );
    let wide = 0;
    fc.assert(
      fc.property(wider, exact, (pattern, one) => {
        // What a narrower one is granted never answers for a pattern, unless that takes in nothing else.
        if (!pattern.includes('*')) return;
        wide += 1;
        expect(scopeCovers(one, pattern)).toBe(false);
        expect(scopeMatches(one, pattern)).toBe(false);
      }),
      { numRuns: 3000 },
    );
    expect(wide).toBeGreaterThan(1000);
    fc.assert(
      fc.property(wider, wider, exact, (p, q, one) => {
        // If p stands for q, nothing that q takes in is new: the grant of p is never made wider by asking for q.
        if (scopeCovers(p, q) && scopeMatches(q, one)) expect(scopeMatches(p, one)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it('an exact scope is covered by exactly what matches it', () => {
    expect(scopeCovers('files:read:/shared/**', 'files:read:/shared/a')).toBe(true);
    expect(scopeCovers('files:read:/shared/**', 'files:read:/shared/**')).toBe(true);
    expect(scopeCovers('files:read:/shared/*', 'files:read:/shared/**')).toBe(false);
    expect(scopeCovers('files:read:/shared/**', 'files:*:/shared/a')).toBe(false);
    expect(scopeCovers('files:read:/shared/**', 'files:read')).toBe(false);
    expect(scopeCovers('files:read', 'files:read')).toBe(true);
  });
});
