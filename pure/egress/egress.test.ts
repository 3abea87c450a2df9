import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../policy/index.ts';
import {
  egressScope,
  ruleOfScope,
  classifyAddress,
  addressAllowed,
  decide,
  matchHost,
  matchPath,
  normaliseHost,
  normalisePath,
} from './index.ts';
import type { CompiledRule, EgressRequest } from './index.ts';

describe('addresses', () => {
  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '0.0.0.0',
    '198.18.0.1',
    '192.0.2.1',
    '240.0.0.1',
    '::',
    '::1',
    'fe80::1',
    'fc00::1',
    'fd00:ec2::254',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::a00:1',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:a00:1::',
    '2001::1',
    'fec0::1',
    '2001:db8::1',
    '2a00::5efe:7f00:1',
    'fe80::1%eth0',
    '::ffff:0:127.0.0.1',
    '127.1',
    '0x7f000001',
    '2130706433',
    '0177.0.0.1',
    '127.0.0.1 ',
    '',
    'localhost',
  ])('[R18] refuses %s', (text) => {
    expect(classifyAddress(text)).not.toBe('public');
    expect(addressAllowed(text, [])).toBe(false);
  });
  it.each([
    '1.1.1.1',
    '93.184.216.34',
    '2606:4700:4700::1111',
    '::ffff:1.1.1.1',
    '64:ff9b::101:101',
    '2002:101:101::',
  ])('[R18] lets %s pass', (text) => {
    expect(classifyAddress(text)).toBe('public');
  });
  it('[R18] reaches a private range only where the rule names it', () => {
    expect(addressAllowed('10.1.2.3', ['10.0.0.0/8'])).toBe(true);
    expect(addressAllowed('::ffff:10.1.2.3', ['10.0.0.0/8'])).toBe(true);
    expect(addressAllowed('10.1.2.3', ['192.168.0.0/16'])).toBe(false);
    expect(addressAllowed('10.1.2.3', ['nonsense'])).toBe(false);
  });
});

describe('hosts', () => {
  it('have one spelling', () => {
    expect(normaliseHost('API.Example.com')).toEqual({ ok: true, value: 'api.example.com' });
  });
  it.each([
    '127.0.0.1',
    '0x7f.1',
    '2130706433',
    '[::1]',
    'a.example.',
    'a..example',
    '.example',
    '-a.example',
    'a_b.example',
    'a.example\0',
    'a.example\n',
    'ａ.example',
    '\u212a.example',
    'a.example:443',
    'user@a.example',
    'a.example/',
    '',
    'a.0x1',
    'a.123',
    `${'a'.repeat(64)}.example`,
  ])('[R18] %j is no host', (text) => {
    expect(normaliseHost(text).ok).toBe(false);
  });
  it('accepts nothing that the URL Standard reads as another host', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.domain(), fc.ipV4(), fc.stringMatching(/^[0-9a-fx.]{1,20}$/)),
        (text) => {
          const host = normaliseHost(text);
          if (host.ok) expect(new URL(`https://${text}/`).hostname).toBe(host.value);
        },
      ),
      { numRuns: 2000 },
    );
  });
  it('match by exact name, one label, or any depth; a wildcard is not the apex', () => {
    expect(matchHost('a.example', 'a.example')).toBe(true);
    expect(matchHost('*.a.example', 'b.a.example')).toBe(true);
    expect(matchHost('*.a.example', 'c.b.a.example')).toBe(false);
    expect(matchHost('**.a.example', 'c.b.a.example')).toBe(true);
    expect(matchHost('**.a.example', 'a.example')).toBe(false);
    expect(matchHost('*.a.example', 'a.example')).toBe(false);
    expect(matchHost('*.a.example', 'xa.example')).toBe(false);
    expect(matchHost('**.a.example', 'xa.example')).toBe(false);
  });
});

describe('paths', () => {
  it.each([
    '/a/../b',
    '/a/./b',
    '/..',
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a\\b',
    '/%2e%2e/b',
    '/a%252e',
    '/a//b',
    '/a;/..;/b',
    '/..;x/b',
    '/a%00',
    '/a%0d',
    '/a b',
    '/é',
    '/a?b',
    '/%zz',
    'a',
    '',
  ])('refuses %j', (text) => {
    expect(normalisePath(text).ok).toBe(false);
  });
  it('keeps a plain path, and decodes what needs no encoding', () => {
    expect(normalisePath('/v1/messages')).toEqual({ ok: true, value: '/v1/messages' });
    expect(normalisePath('/%61/b%20c/')).toEqual({ ok: true, value: '/a/b%20c/' });
  });
  it('is what the URL Standard makes of it, or refused', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^\/[\x20-\x7e]{0,30}$/), (text) => {
        const path = normalisePath(text);
        if (path.ok)
          expect(decodeURIComponent(new URL(`https://a.example${text}`).pathname)).toBe(
            decodeURIComponent(path.value),
          );
      }),
      { numRuns: 3000 },
    );
  });
  it('match by segment', () => {
    expect(matchPath('/**', '/')).toBe(true);
    expect(matchPath('/v1/**', '/v1/a/b')).toBe(true);
    expect(matchPath('/v1/**', '/v1')).toBe(true);
    expect(matchPath('/v1/**', '/v10/a')).toBe(false);
    expect(matchPath('/v1/*', '/v1/a/b')).toBe(false);
    expect(matchPath('/v1/*/x', '/v1/a/x')).toBe(true);
    expect(matchPath('/a*z', '/abcz')).toBe(true);
    expect(matchPath('/a*z', '/abc')).toBe(false);
    expect(matchPath('/**/x', '/a/b/x')).toBe(true);
    expect(matchPath('/aa*aa', '/aaa')).toBe(false);
  });
});

const rulesOf = (yaml: string): CompiledRule[] =>
  parsePolicy(`version: 1\negress:\n${yaml}`, 't').egress.map((rule, i) => ({
    ...rule,
    id: `egress.${String(i)}`,
  }));
const rules = rulesOf(`  - host: api.example
    methods: [GET, POST]
    paths: [/v1/**]
    credential: { secret: model, carrier: header:x-api-key }
  - host: open.example
  - host: asked.example
    methods: [POST]
    decision: ask
  - { host: plain.example, port: 80, plaintext: true }
`);
const placeholders = { model: 'gb-placeholder-abc' };
const base: EgressRequest = {
  scheme: 'https',
  connectHost: 'api.example',
  connectPort: 443,
  sni: 'api.example',
  method: 'GET',
  target: '/v1/x',
  headers: [['host', 'api.example']],
};
const judge = (change: Partial<EgressRequest>) => decide(rules, placeholders, { ...base, ...change });
const denied = (change: Partial<EgressRequest>, rule: string): void => {
  expect(judge(change)).toMatchObject({ decision: 'deny', rule });
};

describe('the egress decision', () => {
  it('allows what a rule allows, with its credential', () => {
    expect(judge({})).toMatchObject({
      decision: 'allow',
      inject: { secret: 'model', place: 'header', name: 'x-api-key' },
      audited: true,
    });
    expect(
      judge({
        headers: [
          ['host', 'api.example'],
          ['x-api-key', 'gb-placeholder-abc'],
        ],
      }),
    ).toMatchObject({ decision: 'allow' });
    expect(
      judge({
        connectHost: 'open.example',
        sni: 'open.example',
        target: '/',
        headers: [['host', 'open.example:443']],
      }),
    ).toMatchObject({ decision: 'allow', inject: null, audited: false });
  });
  it('denies with no rule at all: an empty list is not all [R40]', () => {
    expect(decide([], {}, base)).toMatchObject({ decision: 'deny', rule: 'egress.default' });
  });
  it('denies another host, port, method, path or scheme', () => {
    denied(
      { connectHost: 'evil.example', sni: 'evil.example', headers: [['host', 'evil.example']] },
      'egress.default',
    );
    denied({ connectPort: 8443, headers: [['host', 'api.example:8443']] }, 'egress.default');
    denied({ method: 'DELETE' }, 'egress.default');
    denied({ target: '/v2/x' }, 'egress.default');
    denied({ target: '/v1/../v2/x' }, 'egress.path');
    denied({ scheme: 'http', sni: null }, 'egress.default');
  });
  it('denies fronting: SNI, Host and CONNECT agree on every request', () => {
    denied({ sni: 'open.example' }, 'egress.host-mismatch');
    denied({ sni: null }, 'egress.host-mismatch');
    denied({ headers: [['host', 'open.example']] }, 'egress.host-mismatch');
    denied({ headers: [] }, 'egress.host-mismatch');
    denied(
      {
        headers: [
          ['host', 'api.example'],
          ['host', 'api.example'],
        ],
      },
      'egress.host-mismatch',
    );
    denied({ headers: [['host', 'api.example:8443']] }, 'egress.host-mismatch');
  });
  it.each([
    [
      'two lengths',
      [
        ['content-length', '1'],
        ['content-length', '1'],
      ],
    ],
    ['a length that is a list', [['content-length', '1, 1']]],
    ['a signed length', [['content-length', '+1']]],
    [
      'length and coding',
      [
        ['content-length', '1'],
        ['transfer-encoding', 'chunked'],
      ],
    ],
    ['another coding', [['transfer-encoding', 'gzip, chunked']]],
    ['a coding in other case', [['transfer-encoding', 'Chunked']]],
    ['a method override', [['x-http-method-override', 'DELETE']]],
    ['h2c', [['upgrade', 'h2c']]],
    ['a value with a line break', [['x', 'a\r\nb']]],
    ['a name with a space', [['x y', 'a']]],
  ] as [string, [string, string][]][])('denies %s', (_, headers) => {
    denied({ headers: [['host', 'api.example'], ...headers] }, 'egress.framing');
  });
  it("denies the agent's own credentials", () => {
    for (const name of ['authorization', 'cookie', 'x-api-key', 'proxy-authorization']) {
      expect(
        judge({
          headers: [
            ['host', 'api.example'],
            [name, 'its-own'],
          ],
        }),
      ).toMatchObject({ decision: 'deny', rule: 'egress.0' });
    }
    expect(judge({ target: '/v1/x?api_key=1' })).toMatchObject({ decision: 'deny' });
    expect(judge({ target: '/v1/x?a=1&X-Amz-Signature=1' })).toMatchObject({ decision: 'deny' });
    expect(judge({ target: '/v1/x?a=1;%74oken=1' })).toMatchObject({ decision: 'deny' });
    expect(judge({ target: '/v1/x?page=2' })).toMatchObject({ decision: 'allow' });
  });
  it('denies the placeholder anywhere but in its own header at its own host, and alerts [R27]', () => {
    const at = (host: string, header: [string, string], target = '/v1/x') =>
      judge({ connectHost: host, sni: host, target, headers: [['host', host], header] });
    expect(at('open.example', ['x-note', 'gb-placeholder-abc'])).toMatchObject({
      decision: 'deny',
      alert: true,
    });
    expect(at('open.example', ['x-api-key', 'gb-placeholder-abc'])).toMatchObject({
      decision: 'deny',
      alert: true,
    });
    expect(at('api.example', ['x-note', 'gb-placeholder-abc'])).toMatchObject({
      decision: 'deny',
      alert: true,
    });
    expect(at('api.example', ['x-note', '1'], '/v1/gb-placeholder-abc')).toMatchObject({
      decision: 'deny',
      alert: true,
    });
    expect(at('api.example', ['x-note', '1'], '/v1/x?n=gb%2Dplaceholder%2Dabc')).toMatchObject({
      decision: 'deny',
      alert: true,
    });
    expect(
      at('open.example', ['x-note', `Basic ${Buffer.from('u:gb-placeholder-abc').toString('base64')}`]),
    ).toMatchObject({ alert: true });
  });
  it('asks where the rule asks, with host and method in front', () => {
    expect(
      judge({
        connectHost: 'asked.example',
        sni: 'asked.example',
        method: 'POST',
        target: '/a',
        headers: [['host', 'asked.example']],
      }),
    ).toMatchObject({
      decision: 'ask',
      scope: 'egress:post:/asked.example/a',
    });
  });
  it('finds the rule of a scope that an agent asks for, in its one spelling only', () => {
    expect(ruleOfScope(rules, 'egress:post:/asked.example/a')).toEqual({
      decision: 'ask',
      rule: 'egress.2',
      host: 'asked.example',
    });
    for (const scope of [
      'egress:get:/asked.example/a',
      'egress:post:/asked.example:444/a',
      'egress:post:/ASKED.example/a',
      'egress:post:/asked.example/../a',
      'egress:post:/asked.example:443/a',
      'egress:post:/asked.example/**/..',
      'files:read:/asked.example/a',
    ]) {
      expect(ruleOfScope(rules, scope), scope).toBeNull();
    }
    fc.assert(
      fc.property(
        fc.constantFrom('/', '/a', '/a/', '/a/*', '/a/b'),
        fc.constantFrom(443, 8443),
        (path, port) => {
          const scope = egressScope('POST', 'asked.example', port, path);
          expect(ruleOfScope(rules, scope) === null).toBe(port !== 443);
        },
      ),
    );
  });
  it('allows nothing that no rule names, whatever the request', () => {
    fc.assert(
      fc.property(
        fc.record({
          connectHost: fc.oneof(fc.constantFrom('api.example', 'evil.example'), fc.domain(), fc.string()),
          connectPort: fc.oneof(fc.constant(443), fc.nat(70000)),
          sni: fc.option(fc.oneof(fc.constantFrom('api.example', 'evil.example'), fc.string())),
          method: fc.oneof(fc.constantFrom('GET', 'POST', 'DELETE'), fc.string()),
          target: fc.oneof(fc.constantFrom('/v1/x', '/v2'), fc.webPath(), fc.string()),
          headers: fc.array(
            fc.tuple(
              fc.oneof(fc.constantFrom('host', 'authorization', 'content-length'), fc.string()),
              fc.oneof(fc.constant('api.example'), fc.string()),
            ),
          ),
          scheme: fc.constantFrom('https' as const, 'http' as const),
        }),
        (request) => {
          const decision = decide(rules, placeholders, request);
          if (decision.decision === 'deny') return;
          expect(['api.example', 'open.example', 'asked.example', 'plain.example']).toContain(
            request.connectHost.toLowerCase(),
          );
          expect(decision.rule.methods).toContain(request.method);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
