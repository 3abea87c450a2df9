import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../policy/index.ts';
import {
  bodyProblem,
  decide,
  gitRequest,
  injectionOf,
  isRefName,
  judgePush,
  readCommandList,
  withCredential,
  type CompiledRule,
  type EgressRequest,
} from './index.ts';

const ruleOf = (yaml: string): CompiledRule => {
  const [rule] = parsePolicy(`version: 1\negress:\n  - ${yaml}\n`, 'test').egress;
  if (rule === undefined) throw new Error('no rule');
  return { ...rule, id: 'egress.0' };
};
const request = (change: Partial<EgressRequest>): EgressRequest => ({
  scheme: 'https',
  connectHost: 'api.example',
  connectPort: 443,
  sni: 'api.example',
  method: 'GET',
  target: '/x',
  headers: [['host', 'api.example']],
  ...change,
});
const judge = (yaml: string, change: Partial<EgressRequest>, placeholders: Record<string, string> = {}) =>
  decide([ruleOf(yaml)], placeholders, request(change)).decision;

describe('a rule on the query', () => {
  const rule = `{ host: api.example, query: { page: '*', sort: 'up*' } }`;
  it.each(['/x', '/x?', '/x?page=3', '/x?page=3&sort=upward', '/x?page=a%20b', '/x?page'])(
    'lets %s through',
    (target) => {
      expect(judge(rule, { target })).toBe('allow');
    },
  );
  it.each([
    '/x?other=1',
    '/x?page=1&page=2',
    '/x?sort=down',
    '/x?page=1;other=2',
    '/x?Page=1',
    '/x?%70age=1&page=2',
    '/x?page[]=1',
    '/x?=1',
    '/x?page=%zz',
    '/x?page=%00',
    '/x?__proto__=1',
    '/x?constructor=1',
  ])('refuses %s', (target) => {
    expect(judge(rule, { target })).toBe('deny');
  });
});

describe('credentials in each place', () => {
  const placeholder = 'gb-placeholder-abcdefgh';
  const place = (carrier: string, headers: [string, string][], target = '/x') =>
    withCredential(injectionOf({ secret: 's', carrier }), 'k&y', headers, target);
  it('go where their rule says, in place of what was there', () => {
    expect(place('bearer', [['authorization', placeholder]]).headers).toEqual([
      ['authorization', 'Bearer k&y'],
    ]);
    expect(place('basic:bot', []).headers).toEqual([
      ['authorization', `Basic ${Buffer.from('bot:k&y').toString('base64')}`],
    ]);
    expect(place('basic', []).headers).toEqual([
      ['authorization', `Basic ${Buffer.from('k&y').toString('base64')}`],
    ]);
    expect(place('query:key', [], `/x?a=1&key=${placeholder}&%6bey=2`).target).toBe('/x?a=1&key=k%26y');
    expect(place('cookie:sid', [['cookie', `a=1; sid=${placeholder}`]]).headers).toEqual([
      ['cookie', 'a=1; sid=k&y'],
    ]);
  });
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  it.each([
    ['bearer', { headers: [['authorization', `bearer ${placeholder}`]] }],
    ['basic:bot', { headers: [['authorization', basic(`x:${placeholder}`)]] }],
    ['query:key', { target: `/x?key=${placeholder}` }],
    ['cookie:sid', { headers: [['cookie', `sid=${placeholder}`]] }],
  ] as const)('the placeholder stands for it: %s', (carrier, change) => {
    const rule = `{ host: api.example, credential: { secret: s, carrier: '${carrier}' } }`;
    const headers = [['host', 'api.example'] as const, ...('headers' in change ? change.headers : [])];
    expect(judge(rule, { ...change, headers }, { s: placeholder })).toBe('allow');
    // Elsewhere it does not.
    expect(judge(`{ host: api.example }`, { ...change, headers }, { s: placeholder })).toBe('deny');
  });
  it.each([
    ['bearer', { headers: [['authorization', 'Bearer mine']] }],
    ['bearer', { headers: [['authorization', `Bearer ${placeholder}x`]] }],
    ['basic:bot', { headers: [['authorization', basic('x:mine')]] }],
    ['query:key', { target: '/x?key=mine' }],
    ['query:key', { target: `/x?key=${placeholder}&key=mine` }],
    ['query:key', { target: `/x?q=${placeholder}` }],
    ['cookie:sid', { headers: [['cookie', 'sid=mine']] }],
    ['cookie:sid', { headers: [['cookie', `sid=${placeholder}; other=mine`]] }],
    ['cookie:sid', { headers: [['cookie', `other=${placeholder}`]] }],
  ] as const)('one of the agent’s own does not pass beside it: %s %j', (carrier, change) => {
    const rule = `{ host: api.example, credential: { secret: s, carrier: '${carrier}' } }`;
    const headers = [['host', 'api.example'] as const, ...('headers' in change ? change.headers : [])];
    expect(judge(rule, { ...change, headers }, { s: placeholder })).toBe('deny');
  });
});

const line = (text: string): string => (text.length + 4).toString(16).padStart(4, '0') + text;
const [a, b, zero] = ['a'.repeat(40), 'b'.repeat(40), '0'.repeat(40)];
const list = (...lines: string[]): Uint8Array => Buffer.from(lines.map(line).join('') + '0000PACK');

describe('git', () => {
  const git = { fetch: true, push: ['refs/heads/agent/**'], force: false, delete: false };
  it('is four requests and no others', () => {
    for (const [method, path, query, ok] of [
      ['GET', '/o/r.git/info/refs', '?service=git-upload-pack', true],
      ['GET', '/o/r.git/info/refs', '?service=git-receive-pack', true],
      ['POST', '/o/r.git/git-upload-pack', '', true],
      ['POST', '/o/r.git/git-receive-pack', '', true],
      ['GET', '/o/r.git/info/refs', '', false],
      ['GET', '/o/r.git/info/refs', '?service=git-upload-pack&service=git-receive-pack', false],
      ['GET', '/o/r.git/HEAD', '', false],
      ['GET', '/o/r.git/objects/info/packs', '', false],
      ['POST', '/o/r.git/info/refs', '?service=git-upload-pack', false],
      ['POST', '/o/r/settings', '', false],
    ] as const)
      expect(gitRequest(git, method, path, query).ok, `${method} ${path}${query}`).toBe(ok);
    expect(gitRequest({ ...git, push: [] }, 'GET', '/r/info/refs', '?service=git-receive-pack').ok).toBe(
      false,
    );
    expect(gitRequest({ ...git, fetch: false }, 'GET', '/r/info/refs', '?service=git-upload-pack').ok).toBe(
      false,
    );
  });
  it('[R33] judges a push by its refs; deletion and force are rights of their own', () => {
    const judged = (rule: Partial<typeof git>, ...lines: string[]): boolean => {
      const read = readCommandList(list(...lines), 1000);
      if (read.state !== 'read') throw new Error(read.state);
      const verdict = judgePush({ ...git, ...rule }, read.updates);
      return verdict.ok && verdict.forward.length === 0;
    };
    const create = `${zero} ${a} refs/heads/agent/x\0report-status`;
    expect(judged({}, create)).toBe(true);
    expect(judged({}, create, `${zero} ${b} refs/heads/agent/y/z\n`)).toBe(true);
    expect(judged({}, create, `${zero} ${b} refs/heads/main`)).toBe(false);
    expect(judged({}, `${a} ${zero} refs/heads/agent/x\0x`)).toBe(false);
    expect(judged({ delete: true }, `${a} ${zero} refs/heads/agent/x\0x`)).toBe(true);
    expect(judged({}, `${a} ${b} refs/heads/agent/x\0x`)).toBe(false);
    expect(judged({ force: true }, `${a} ${b} refs/heads/agent/x\0x`)).toBe(true);
  });
  it.each([
    ['no command', Buffer.from('0000')],
    ['a length that is no number', Buffer.from('zzzz')],
    ['a packet of nothing', Buffer.from('0004')],
    ['a delimiter', Buffer.from('0001')],
    ['a ref with a space', list(`${zero} ${a} refs/heads/agent/x y\0x`)],
    ['a ref with a line feed', list(`${zero} ${a} refs/heads/agent/x\ny\0x`)],
    ['a ref with two dots', list(`${zero} ${a} refs/heads/agent/../main\0x`)],
    ['a ref outside refs', list(`${zero} ${a} HEAD\0x`)],
    ['a ref twice', list(`${zero} ${a} refs/heads/agent/x\0x`, `${zero} ${b} refs/heads/agent/x`)],
    ['upper-case hashes', list(`${zero} ${a.toUpperCase()} refs/heads/agent/x\0x`)],
    ['a signed push', list(`push-cert\0x`, 'certificate version 0.1\n')],
    ['a shallow line', list(`shallow ${a}`)],
    ['options', list(`${zero} ${a} refs/heads/agent/x\0push-options`)],
    [
      'no UTF-8',
      Buffer.concat([Buffer.from('0008'), Buffer.from([255, 254, 253, 252]), Buffer.from('0000')]),
    ],
  ])('refuses %s', (_, bytes) => {
    expect(readCommandList(bytes, 1000).state).toBe('bad');
  });
  it('reads a list the same however it arrives, and never past its bound', () => {
    const whole = list(`${zero} ${a} refs/heads/agent/x\0x`, `${zero} ${b} refs/heads/agent/y`);
    for (let n = 0; n < whole.length - 4; n += 1)
      expect(readCommandList(whole.subarray(0, n), 1000).state).toBe('more');
    expect(readCommandList(whole, 1000)).toMatchObject({ state: 'read', length: whole.length - 4 });
    expect(readCommandList(whole, 100).state).toBe('bad');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const read = readCommandList(bytes, 200);
        if (read.state === 'read') for (const { ref } of read.updates) expect(isRefName(ref)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('GraphQL and JSON-RPC', () => {
  const graphql = ruleOf(
    `{ host: h, methods: [POST], graphql: { operations: [query], fields: [viewer, 'repo*'] } }`,
  );
  const ask = (query: string): string | null => bodyProblem(graphql, JSON.stringify({ query }));
  it.each(['{ viewer { login } }', 'query A { repository(name: "mutation") { id } __typename }'])(
    'lets %s through',
    (query) => {
      expect(ask(query)).toBeNull();
    },
  );
  it.each([
    'mutation { viewer }',
    'subscription { viewer }',
    'query A { viewer } mutation B { viewer }',
    '{ other }',
    '{ viewer: deleteAll }',
    '{ ...F } fragment F on Query { other }',
    '{ viewer',
    'fragment F on Query { viewer }',
    '',
  ])('refuses %s', (query) => {
    expect(ask(query)).not.toBeNull();
  });
  it('refuses what names no document, a batch, a key twice', () => {
    expect(bodyProblem(graphql, JSON.stringify({ extensions: { persistedQuery: {} } }))).not.toBeNull();
    expect(bodyProblem(graphql, JSON.stringify([{ query: '{ viewer }' }]))).not.toBeNull();
    expect(bodyProblem(graphql, '{"query":"{viewer}","query":"mutation{x}"}')).not.toBeNull();
    expect(bodyProblem(graphql, '{"query":"{viewer}","qu\\u0065ry":"mutation{x}"}')).not.toBeNull();
    expect(
      bodyProblem(graphql, '{"query":"{viewer}","variables":{"query":1,"x":"{\\"a\\":1,\\"a\\":2}"}}'),
    ).toBeNull();
  });
  const rpc = ruleOf(
    `{ host: h, methods: [POST], jsonrpc: { methods: [initialize, 'tools/*'], tools: ['read_*'] } }`,
  );
  const call = (body: unknown): string | null => bodyProblem(rpc, JSON.stringify(body));
  it('lets the named methods and tools through, and no others', () => {
    expect(call({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).toBeNull();
    expect(call({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'read_file' } })).toBeNull();
    expect(call({ jsonrpc: '2.0', id: 1, result: {} })).toBeNull();
    for (const body of [
      { method: 'tools/call', params: { name: 'write_file' } },
      { method: 'tools/call', params: {} },
      { method: 'tools/call' },
      { method: 'resources/read' },
      { method: ['tools/list'] },
      [{ method: 'tools/list' }, { method: 'resources/read' }],
      [],
      'tools/list',
      null,
    ])
      expect(call(body), JSON.stringify(body)).not.toBeNull();
  });
});

describe('a rule that looks into a body', () => {
  const rule = `{ host: api.example, methods: [GET, POST], jsonrpc: { methods: ['*'] } }`;
  const post = (...more: [string, string][]) =>
    judge(rule, { method: 'POST', headers: [['host', 'api.example'], ...more] });
  it('wants JSON as it is', () => {
    expect(post(['content-type', 'application/json'])).toBe('allow');
    expect(post(['content-type', 'application/json; charset=utf-8'])).toBe('allow');
    expect(post(['content-type', 'text/plain'])).toBe('deny');
    expect(post(['content-type', 'application/json; charset=utf-7'])).toBe('deny');
    expect(post(['content-type', 'application/json'], ['content-encoding', 'gzip'])).toBe('deny');
    expect(post()).toBe('deny');
    expect(judge(rule, {})).toBe('allow');
    expect(
      judge(rule, {
        headers: [
          ['host', 'api.example'],
          ['content-length', '3'],
        ],
      }),
    ).toBe('deny');
  });
  it('bounds a body that says its length', () => {
    const bounded = `{ host: api.example, methods: [POST], maxBody: 1KB }`;
    const sized = (length: string) =>
      judge(bounded, {
        method: 'POST',
        headers: [
          ['host', 'api.example'],
          ['content-length', length],
        ],
      });
    expect([sized('1024'), sized('1025')]).toEqual(['allow', 'deny']);
  });
});
