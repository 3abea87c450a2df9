import { describe, expect, it } from 'vitest';
import { explain, readCases, readPolicySource, runCases, type Attempt, type PolicySource } from './index.ts';

const text = `version: 1
tools:
  allow: ['files:read:/shared/**']
  ask: ['files:write:/shared/**']
egress:
  - host: api.example
    methods: [GET, POST]
    paths: [/v1/**]
    credential: { secret: key, carrier: bearer }
    perMinute: 5
    budget: 1MB
  - { host: api.example, paths: [/v2/**], decision: ask }
  - { host: plain.example, port: 80, plaintext: true }
  - { host: git.example, methods: [GET, POST], git: { push: ['refs/heads/x'] } }
env: { KEY: { placeholder: key } }
`;
const read = readPolicySource(text);
if (!read.ok) throw new Error(read.problems[0].detail);
const source: PolicySource = read.source;
const call = (tool: string, args: Record<string, unknown>): Attempt => ({ kind: 'call', tool, args });
const request = (method: string, url: string, headers: [string, string][] = []): Attempt => ({
  kind: 'request',
  method,
  url,
  headers,
});
const said = (attempt: Attempt): string => {
  const explained = explain(source, attempt);
  if (!explained.ok) return `bad: ${explained.why}`;
  const { decision, rule, place } = explained.explanation;
  return `${decision} ${rule}${place === null ? '' : ` ${place.line}:${place.column}`}`;
};
const notes = (attempt: Attempt): string => {
  const explained = explain(source, attempt);
  return explained.ok ? explained.explanation.notes.join('; ') : '';
};

describe('explain', () => {
  it.each([
    [call('files_read', { path: '/shared/a' }), 'allow tools.allow.0 3:11'],
    [call('files_write', { path: '/shared/a', content: '' }), 'ask tools.ask.0 4:9'],
    [call('files_read', { path: '/other' }), 'deny tools.none'],
    [call('files_raed', { path: '/' }), 'bad: there is no tool files_raed; did you mean files_read?'],
    [
      call('nonsense', {}),
      'bad: there is no tool nonsense; there are files_list, files_read, files_search, files_write',
    ],
    [
      call('files_read', { path: 'a' }),
      'bad: files_read: path a path starts with / and has no control characters or backslashes',
    ],
    [request('POST', 'https://api.example/v1/x'), 'allow egress.0 6:5'],
    [request('GET', 'https://api.example/v2/x'), 'ask egress.1 12:5'],
    [request('GET', 'http://plain.example/'), 'allow egress.2 13:5'],
    [request('GET', 'http://plain.example?q=1'), 'allow egress.2 13:5'],
    [request('GET', 'https://plain.example/'), 'deny egress.default'],
    [request('DELETE', 'https://api.example/v1/x'), 'deny egress.default'],
    [request('GET', 'https://api.example/v1/../x'), 'deny egress.path'],
    [request('GET', 'https://10.0.0.1/'), 'deny egress.host'],
    [request('GET', 'https://api.example/v1/x', [['Authorization', 'Bearer mine']]), 'deny egress.0 6:5'],
    [
      request('GET', 'ftp://api.example/'),
      'bad: ftp://api.example/ is no address such as https://host.example/path',
    ],
    [{ kind: 'permission', scope: 'files:write:/shared/x' }, 'ask tools.ask.0 4:9'],
    [{ kind: 'permission', scope: 'egress:get:/api.example/v2/x' }, 'ask egress.1 12:5'],
    [{ kind: 'permission', scope: 'files:write:/**' }, 'deny tools.none'],
  ] satisfies [Attempt, string][])('%j: %s', (attempt, expected) => {
    expect(said(attempt)).toBe(expected);
  });

  it('says what comes with it', () => {
    expect(notes(request('GET', 'https://api.example/v1/x'))).toBe(
      'the credential key is put in as bearer; at most 5 requests a minute; at most 1MB in a session',
    );
    expect(notes(request('GET', 'https://api.example/v2/x'))).toContain('a person is asked');
    expect(notes(request('GET', 'https://git.example/r.git/info/refs?service=git-upload-pack'))).toBe(
      'the refs of a push decides too, which is not looked at here',
    );
  });

  it('says what came close', () => {
    expect(notes(request('DELETE', 'https://api.example/v1/x'))).toBe(
      'egress.0 at line 6 is for this host, but it takes GET, POST; egress.1 at line 12 is for this host, but it takes GET, HEAD, OPTIONS',
    );
    expect(notes(request('GET', 'https://api.example:8443/v1/x'))).toContain('but it is for port 443');
    expect(notes(request('GET', 'https://plain.example:80/'))).toContain('but it is for http');
    expect(notes(request('GET', 'https://other.example/'))).toBe('');
    expect(notes(call('files_write', { path: '/x', content: '' }))).toBe(
      'the policy has files:write:/shared/**',
    );
  });
});

describe('cases', () => {
  const outcomes = (cases: string) => {
    const file = readCases(`cases:\n${cases}`);
    if (!file.ok) throw new Error(file.problems[0].detail);
    return runCases(source, file.cases, file.placeOf);
  };

  it('are decided as expected, or say how they were decided', () => {
    const [one, two, three, four] = outcomes(`
  - { call: files_read, with: { path: /shared/a }, expect: allow, rule: tools.allow.0 }
  - { request: 'GET https://api.example/v2/x', expect: allow }
  - { permission: 'files:write:/shared/x', expect: ask, rule: tools.ask.7 }
  - { request: 'GET https://api.example/v1/x', headers: { cookie: a=b }, expect: deny, name: own credentials }
`);
    expect(one).toMatchObject({ ok: true, line: 3 });
    expect(two).toMatchObject({ ok: false, line: 4, decided: { decision: 'ask', rule: 'egress.1' } });
    expect(three).toMatchObject({
      ok: false,
      expected: { rule: 'tools.ask.7' },
      decided: { rule: 'tools.ask.0' },
    });
    expect(four).toMatchObject({ ok: true, name: 'own credentials' });
  });

  it.each([
    ['nothing', '{ expect: deny }'],
    ['two things', "{ call: files_read, permission: 'files:read:/a', expect: deny }"],
    ['arguments of nothing', "{ permission: 'files:read:/a', with: {}, expect: deny }"],
    ['headers of no request', '{ call: files_read, headers: {}, expect: deny }'],
    ['a tool that is not there', '{ call: files_raed, expect: deny }'],
  ])('with %s fail, also where deny is expected', (_, one) => {
    expect(outcomes(`  - ${one}\n`)[0]).toMatchObject({ ok: false, decided: null });
  });

  it('name a mistyped key with its place', () => {
    const file = readCases('cases:\n  - { cal: files_read, expect: deny }\n');
    expect(file.ok ? null : file.problems[0]).toMatchObject({
      line: 2,
      column: 7,
      todo: 'Did you mean "call"?',
    });
    expect(readCases('cases: []').ok).toBe(false);
  });
});
