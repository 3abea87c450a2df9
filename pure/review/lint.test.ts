import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lintPolicy } from './index.ts';

const presets = fileURLToPath(new URL('../../presets/', import.meta.url));
const words = (text: string): string[] =>
  lintPolicy(text).map((found) => `${found.line}:${found.column} ${found.severity} ${found.rule}`);
const egress = (rule: string): string[] => words(`version: 1\negress:\n  - ${rule}\n`);

describe('lint', () => {
  it.each(readdirSync(presets))('has nothing to remark on the preset %s', (name) => {
    expect(lintPolicy(readFileSync(presets + name, 'utf8'))).toEqual([]);
  });

  it('names every error with its place, and the nearest key', () => {
    const found = lintPolicy(
      'version: 1\ntols: {}\negress:\n  - host: a.example\n    methd: [GET]\n    port: x\n',
    );
    expect(found.map(({ line, column, what, todo }) => `${line}:${column} ${what} ${todo}`)).toEqual([
      '2:1 unknown key "tols" Did you mean "tools"?',
      '5:5 unknown key "methd" Did you mean "methods"?',
      expect.stringMatching(/^6:11 egress\.0\.port: /),
    ]);
  });

  it('names the place of a policy within a preset', () => {
    const text = 'name: x\ntitle: X\ncommand: [x]\npolicy:\n  version: 1\n  tools: { allow: [file:read] }\n';
    expect(words(text)).toEqual(['6:20 warning scope-without-tool']);
  });

  it.each([
    ['an unreadable scope', 'allow: ["files:read:/**/**"]', ['2:18 error scope-unreadable']],
    ['a domain of no tool', 'ask: ["file:read:/a"]', ['2:16 warning scope-without-tool']],
    ['a verb of no tool', 'ask: ["files:reed:/a"]', ['2:16 warning scope-without-tool']],
    ['a scope of egress', 'ask: ["egress:post:/a.example/x"]', ['2:16 warning scope-without-tool']],
    [
      'what an earlier scope takes in',
      'allow: ["files:read:/a/**", "files:read:/a/b"]',
      ['2:38 warning unreachable'],
    ],
    [
      'a question that is never asked',
      'allow: ["files:read:/a/**"], ask: ["files:read:/a/b"]',
      ['2:45 warning unreachable'],
    ],
    ['writing everywhere', 'allow: ["files:write:/**"]', ['2:18 warning wide-scope']],
    ['writing by any verb', 'allow: ["files:*:/a"]', ['2:18 warning wide-scope']],
    ['what is as it should be', 'allow: ["files:read:/**"], ask: ["files:write:/**"]', []],
  ])('of scopes, %s', (_, tools, expected) => {
    expect(words(`version: 1\ntools: { ${tools} }\n`)).toEqual(expected);
  });

  it.each([
    ['an address', 'host: 10.0.0.1', ['3:11 error host-never-fits']],
    ['everything below a top level', "host: '*.com'", ['3:11 warning wide-host']],
    ['everything below a suffix that is open to all', "host: '**.github.io'", ['3:11 warning wide-host']],
    ['a mistyped method', '{ host: a.example, methods: [POTS] }', ['3:34 warning unknown-method']],
    ['a path with a query', '{ host: a.example, paths: ["/a?b=c"] }', ['3:32 error path-never-fits']],
    ['a path with stars within', '{ host: a.example, paths: ["/a**"] }', ['3:32 error path-never-fits']],
    [
      'a path that is never asked for so',
      '{ host: a.example, paths: ["/a/../b"] }',
      ['3:32 error path-never-fits'],
    ],
    ['a path in another spelling', '{ host: a.example, paths: ["/%61"] }', ['3:32 error path-never-fits']],
    ['git by GET', '{ host: a.example, git: { push: ["refs/heads/x"] } }', ['3:29 warning git-needs-post']],
    [
      'git that pushes nothing',
      '{ host: a.example, methods: [POST], git: { force: true } }',
      ['3:46 warning git-push-nothing'],
    ],
    [
      'gRPC with paths',
      '{ host: a.example, paths: [/a], grpc: ["a.B/C"] }',
      ['3:43 warning grpc-takes-over'],
    ],
    [
      'bodies without POST',
      '{ host: a.example, jsonrpc: { methods: ["*"] } }',
      ['3:5 warning body-needs-post'],
    ],
    ['a way out', "{ host: '*.a.example', methods: [POST] }", ['3:5 warning wide-sending']],
    [
      'a credential without TLS',
      '{ host: a.example, plaintext: true, credential: { secret: s, carrier: bearer } }',
      ['3:53 error credential-plaintext'],
    ],
    [
      'a credential for many',
      "{ host: '*.a.example', credential: { secret: s, carrier: bearer } }",
      ['3:40 warning credential-wide'],
    ],
    [
      'two credentials',
      '{ host: a.example, ownCredentials: true, credential: { secret: s, carrier: bearer } }',
      ['3:40 warning credential-own'],
    ],
    ['no range', '{ host: a.example, privateRanges: ["10.0.0.300/24"] }', ['3:40 error range-unreadable']],
    ['a wide range', '{ host: a.example, privateRanges: ["0.0.0.0/0"] }', ['3:40 warning wide-range']],
    [
      'what is as it should be',
      '{ host: a.example, methods: [GET, POST], paths: [/v1/**], privateRanges: ["10.1.0.0/16"] }',
      [],
    ],
  ])('of egress, %s', (_, rule, expected) => {
    expect(egress(rule)).toEqual(expected);
  });

  it('of egress, what earlier rules decide', () => {
    const rules = (second: string) => egress(`{ host: '*.a.example', paths: [/v1/**] }\n  - ${second}`);
    expect(rules('{ host: b.a.example, paths: [/v1/x] }')).toEqual(['4:5 warning unreachable']);
    expect(rules('{ host: b.a.example, paths: [/v1/x], methods: [GET, POST] }')).toEqual([
      '4:5 warning shadowed',
    ]);
    expect(rules('{ host: b.a.example, paths: [/v2/x] }')).toEqual([]);
    expect(rules('{ host: b.a.example, port: 8443 }')).toEqual([]);
  });

  it('of the rest: keys, placeholders, time, credential files', () => {
    const key = ['sk', 'x'.repeat(20)].join('-');
    expect(words(`version: 1\nenv:\n  A: ${key}\n  B: { placeholder: s }\n  C: plain\n`)).toEqual([
      '3:6 error secret-in-policy',
      '4:6 warning credential-without-host',
    ]);
    expect(JSON.stringify(lintPolicy(`version: 1\nenv: { A: ${key} }\n`))).not.toContain(key);
    expect(words('version: 1\nttl: 99999h\n')).toEqual(['2:6 error ttl-too-long']);
    expect(words("version: 1\nworkspace: { show: ['**'] }\n")).toEqual(['2:21 warning wide-show']);
    expect(words('version: 1\nttl: 8h\nworkspace: { show: [.env] }\n')).toEqual([]);
  });

  it('answers whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((s) => `version: 1\n${s}`),
        ),
        (text) => {
          for (const found of lintPolicy(text)) expect(found.line).toBeGreaterThan(0);
        },
      ),
    );
  });
});
