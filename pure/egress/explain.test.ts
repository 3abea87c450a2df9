import { describe, expect, it } from 'vitest';
import { compileSession } from '../compile/index.ts';
import { parsePolicy } from '../policy/index.ts';
import { explain, type Explanation } from './explain.ts';

const document = parsePolicy(
  `version: 1
egress:
  - host: api.example
    methods: [GET, POST]
    paths: [/v1/**]
    credential: { secret: model, carrier: bearer }
  - host: docs.example
    decision: ask
  - host: inside.example
    privateRanges: [10.0.0.0/8]
    perMinute: 10
  - host: git.example
    methods: [GET, POST]
    paths: [/org/repo.git/**]
    git: { push: [refs/heads/agent/**] }
`,
  'test',
);
const { egress, placeholders } = compileSession({
  document,
  env: {},
  authorities: {},
  placeholder: (secret) => `secret:${secret}`,
});
const about = (
  url: string,
  more: { method?: string; headers?: [string, string][]; addresses?: string[] } = {},
): Explanation => {
  const found = explain(egress, placeholders, {
    url,
    method: more.method ?? 'GET',
    headers: more.headers ?? [],
    addresses: more.addresses ?? null,
  });
  if (found === null) throw new Error(`${url} is no address`);
  return found;
};

describe('what would become of a request', () => {
  it('names the rule, the credential and where it goes', () => {
    expect(about('https://api.example/v1/a?b=c')).toMatchObject({
      verdict: 'allow',
      rule: 'egress.0',
      ruleIndex: 0,
      credential: { secret: 'model', place: 'header authorization (bearer)' },
      audited: true,
      todo: null,
    });
    expect(about('https://inside.example/')).toMatchObject({
      ruleIndex: 2,
      credential: null,
      audited: false,
    });
  });

  it('says what the agent is told to ask for', () => {
    expect(about('https://api.example/v2', { method: 'DELETE' })).toMatchObject({
      verdict: 'deny',
      rule: 'egress.default',
      ruleIndex: null,
      todo: 'Ask the person to add an egress rule to the policy: host api.example, methods [DELETE], paths [/v2].',
    });
    expect(about('https://docs.example/a')).toMatchObject({
      verdict: 'ask',
      scope: 'egress:get:/docs.example/a',
      ruleIndex: 1,
    });
  });

  it('is the decision of the proxy: a credential of the agent’s own, a placeholder in its place and out of it', () => {
    const own = (value: string): Explanation =>
      about('https://api.example/v1/a', { headers: [['authorization', value]] });
    expect(own('Bearer mine')).toMatchObject({ verdict: 'deny', ruleIndex: 0, alert: false });
    expect(own('Bearer secret:model')).toMatchObject({ verdict: 'allow' });
    expect(about('https://inside.example/', { headers: [['x-any', 'secret:model']] })).toMatchObject({
      verdict: 'deny',
      alert: true,
    });
    expect(about('https://api.example/v1/a', { headers: [['host', 'other.example']] })).toMatchObject({
      verdict: 'deny',
      rule: 'egress.host-mismatch',
      alert: true,
    });
  });

  it('[R18] an address that the name would lead to is judged as at the connection', () => {
    const inside = (addresses: string[]): Explanation => about('https://inside.example/', { addresses });
    expect(inside(['10.1.2.3'])).toMatchObject({ verdict: 'allow' });
    expect(inside(['10.1.2.3', '169.254.169.254'])).toMatchObject({
      verdict: 'deny',
      rule: 'egress.address',
    });
    expect(inside(['192.168.0.1'])).toMatchObject({ verdict: 'deny', alert: true });
  });

  it('says what only the request itself will show', () => {
    const push = about('https://git.example/org/repo.git/git-receive-pack', { method: 'POST' });
    expect(push.further).toContain('the refs that the push would change');
    expect(about('https://inside.example/').further).toEqual([
      'at most 10 requests a minute',
      'the name leads to public addresses, or to 10.0.0.0/8',
    ]);
  });

  it.each([
    'ftp://x',
    'https://',
    'https://u:p@api.example/',
    'https://a b/',
    'https://x:99999/',
    'api.example',
  ])('%s is no address', (url) => {
    expect(explain(egress, placeholders, { url, method: 'GET', headers: [], addresses: null })).toBeNull();
  });
});
