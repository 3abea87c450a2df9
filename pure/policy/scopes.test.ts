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

  it('an exact scope is covered by exactly what matches it', () => {
    expect(scopeCovers('files:read:/shared/**', 'files:read:/shared/a')).toBe(true);
    expect(scopeCovers('files:read:/shared/**', 'files:read:/shared/**')).toBe(true);
    expect(scopeCovers('files:read:/shared/*', 'files:read:/shared/**')).toBe(false);
    expect(scopeCovers('files:read:/shared/**', 'files:*:/shared/a')).toBe(false);
    expect(scopeCovers('files:read:/shared/**', 'files:read')).toBe(false);
    expect(scopeCovers('files:read', 'files:read')).toBe(true);
  });
});
