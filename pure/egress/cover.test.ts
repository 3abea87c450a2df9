import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostCovers, pathCovers, takenBy } from './cover.ts';
import { matchHost } from './host.ts';
import { matchPath } from './path.ts';

describe('what one rule takes from another', () => {
  it.each([
    ['a.example', 'a.example', true],
    ['*.example', 'a.example', true],
    ['*.example', 'b.a.example', false],
    ['*.example', '*.example', true],
    ['*.example', '**.example', false],
    ['**.example', '*.example', true],
    ['**.example', '*.a.example', true],
    ['**.example', '**.a.example', true],
    ['**.a.example', '**.example', false],
    ['**.a.example', '*.ba.example', false],
    ['**.example', 'example', false],
    ['a.example', '*.example', false],
  ])('host %s takes in %s: %s', (wide, narrow, expected) => {
    expect(hostCovers(wide, narrow)).toBe(expected);
  });

  it.each([
    ['/**', '/', true],
    ['/**', '/a/**/b', true],
    ['/v1/**', '/v1', true],
    ['/v1/**', '/v1/x/*', true],
    ['/v1/**', '/v2/x', false],
    ['/v1/*', '/v1/**', false],
    ['/v1/*', '/v1/a*', true],
    ['/v1/a*', '/v1/*', false],
    ['/**/b', '/a/**/b', true],
    ['/**/b', '/a/**', false],
  ])('path %s takes in %s: %s', (wide, narrow, expected) => {
    expect(pathCovers(wide, narrow)).toBe(expected);
  });

  const segment = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '*b', '**');
  const pattern = fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
  const path = fc
    .array(fc.constantFrom('a', 'b', 'ab', 'ba', ''), { maxLength: 5 })
    .map((parts) => `/${parts.join('/')}`);

  it('[R40] what takes in a path pattern fits whatever that one fits', () => {
    let taken = 0;
    fc.assert(
      fc.property(
        pattern,
        pattern,
        fc.array(path, { minLength: 20, maxLength: 40 }),
        (wide, narrow, paths) => {
          if (!pathCovers(wide, narrow)) return;
          taken += 1;
          for (const one of paths) if (matchPath(narrow, one)) expect(matchPath(wide, one)).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(50);
  });

  it('[R40] what takes in a host pattern fits whatever that one fits', () => {
    const name = fc
      .array(fc.constantFrom('a', 'b', 'ba'), { minLength: 1, maxLength: 4 })
      .map((labels) => labels.join('.'));
    const host = fc.tuple(fc.constantFrom('', '*.', '**.'), name).map(([stars, rest]) => stars + rest);
    fc.assert(
      fc.property(host, host, fc.array(name, { minLength: 20, maxLength: 40 }), (wide, narrow, names) => {
        const covers = hostCovers(wide, narrow);
        if (!covers) return;
        for (const one of names) if (matchHost(narrow, one)) expect(matchHost(wide, one)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('is by one rule for port, scheme, method and path together', () => {
    const rule = { host: 'a.example', port: 443, plaintext: false, methods: ['GET'], paths: ['/**'] };
    expect(takenBy([rule], rule, 'GET', '/x')).toBe(0);
    expect(takenBy([{ ...rule, port: 8443 }, rule], rule, 'GET', '/x')).toBe(1);
    expect(takenBy([{ ...rule, plaintext: true }], rule, 'GET', '/x')).toBe(-1);
    expect(takenBy([{ ...rule, methods: ['POST'] }], rule, 'GET', '/x')).toBe(-1);
    expect(takenBy([{ ...rule, paths: ['/y'] }], rule, 'GET', '/x')).toBe(-1);
  });
});
