import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { compileSession } from '../compile/index.ts';
import { parsePolicy } from '../policy/index.ts';
import { decide, type CompiledRule } from './decide.ts';
import { requestOf } from './explain.ts';
import { suggest, type Refused, type Suggestion } from './suggest.ts';

const compiled = (egress: unknown): readonly CompiledRule[] =>
  compileSession({
    document: parsePolicy(stringify({ version: 1, egress }), 'test'),
    env: {},
    authorities: {},
    placeholder: (secret) => `secret:${secret}`,
  }).egress;
const none: readonly CompiledRule[] = [];
const refused = (method: string, url: string, rule = 'egress.default'): Refused => ({ method, url, rule });
const of = (...seen: readonly Refused[]): Suggestion => suggest(none, seen, 100);

describe('rules from what was refused', () => {
  it('are what was seen, and no more', () => {
    const { rules, left } = of(
      refused('GET', 'https://a.example:443/x'),
      refused('GET', 'https://a.example:443/y/z'),
      refused('POST', 'https://a.example:443/x'),
      refused('GET', 'https://a.example:8443/x'),
    );
    expect(rules).toEqual([
      { host: 'a.example', methods: ['GET', 'POST'], paths: ['/x'] },
      { host: 'a.example', methods: ['GET'], paths: ['/y/z'] },
      { host: 'a.example', port: 8443, methods: ['GET'], paths: ['/x'] },
    ]);
    expect(left).toEqual([]);
  });

  it('of a connection alone: each request is left to a person', () => {
    expect(of(refused('CONNECT', 'https://a.example:443')).rules).toEqual([
      { host: 'a.example', methods: ['GET', 'HEAD', 'OPTIONS'], paths: ['/**'], decision: 'ask' },
    ]);
    // Where more is known, it is not needed.
    const { rules } = of(
      refused('CONNECT', 'https://a.example:443'),
      refused('GET', 'https://a.example:443/x'),
    );
    expect(rules).toEqual([{ host: 'a.example', methods: ['GET'], paths: ['/x'] }]);
  });

  it('leave out what no rule should mend, and say so', () => {
    const { rules, left } = of(
      refused('GET', 'https://a.example:443/', 'egress.address'),
      refused('GET', 'https://a.example:443/p', 'egress.3'),
      refused('GET', 'https://a.example:443/q', 'egress.host-mismatch'),
      refused('GET', 'https://a.example:443/*'),
      refused('GET', 'https://a.example:443/a/../b'),
      refused('get', 'https://a.example:443/low'),
      refused('GET', `https://a.example:443/${'x'.repeat(300)}`),
      refused('POST', 'https://git.example:443/r.git/git-receive-pack'),
      refused('CONNECT', 'https://10.0.0.1:443'),
      refused('CONNECT', 'https://a_b:443'),
    );
    expect(rules).toEqual([]);
    expect(left).toHaveLength(10);
  });

  it('a fetch by git is a rule of git’s', () => {
    const { rules } = of(
      refused('GET', 'https://git.example:443/r.git/info/refs'),
      refused('POST', 'https://git.example:443/r.git/git-upload-pack'),
    );
    expect(rules.map(({ git }) => git)).toEqual([
      expect.objectContaining({ fetch: true, push: [] }),
      expect.objectContaining({ fetch: true, push: [] }),
    ]);
  });

  it('nothing of what the policy lets through by now', () => {
    const now = compiled([{ host: 'a.example' }, { host: 'b.example', decision: 'ask' }]);
    const seen = [refused('GET', 'https://a.example:443/x'), refused('CONNECT', 'https://b.example:443')];
    expect(suggest(now, seen, 100)).toEqual({ rules: [], left: [] });
  });

  it('are bounded, however much an agent asks for', () => {
    const many = Array.from({ length: 1000 }, (_, n) => refused('GET', `https://h${n}.example:443/`));
    const { rules, left } = suggest(none, many, 20);
    expect(rules).toHaveLength(20);
    expect(left).toHaveLength(20);
  });

  it('let through exactly what was seen: no other host, port, method or path', () => {
    const host = fc.constantFrom('a.example', 'b.example', 'x.a.example', '*.a.example', '**.example');
    const path = fc.constantFrom('/', '/a', '/a/b', '/a/*', '/**', '/a%20b', '/b/', '/%41', '/r/info/refs');
    const method = fc.constantFrom('GET', 'POST', 'DELETE', 'HEAD');
    const port = fc.constantFrom(443, 8443);
    const one = fc.record({ scheme: fc.constantFrom('https', 'http'), host, port, method, path });
    const urlOf = (r: { scheme: string; host: string; port: number; path: string }): string =>
      `${r.scheme}://${r.host}:${r.port}${r.path}`;
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), one, (seen, other) => {
        const { rules } = of(...seen.map((r) => refused(r.method, urlOf(r))));
        expect(JSON.stringify(rules)).not.toMatch(/credential|privateRanges|ownCredentials|\*/);
        const request = requestOf({ url: urlOf(other), method: other.method, headers: [], addresses: null });
        if (request === null) return;
        const allowed = decide(compiled(rules), {}, request).decision !== 'deny';
        const plain = (r: typeof other): string => `${r.method} ${urlOf(r).replace('/%41', '/A')}`;
        if (allowed) expect(seen.map(plain)).toContain(plain(other));
      }),
    );
  });
});
