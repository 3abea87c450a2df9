import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { egressWorld, listening, upstreamAuthority, type EgressWorld } from './egress-world.ts';

const key = 'the-real-key-0123456789';
const placeholder = 'gb-placeholder-abcdefgh';
const folder = mkdtempSync(join(tmpdir(), 'gb-egress-rules-'));
let upstream: Server;
let port: number;
let world: EgressWorld;
let seen: { url: string; authorization: string; body: string }[] = [];

beforeAll(async () => {
  const authority = await upstreamAuthority();
  upstream = createServer(await authority.certificate('api.example'), (request, response) => {
    if (request.url?.startsWith('/git/') === true) gitBackend(request, response);
    else answer(request, response);
  });
  port = await listening(upstream);
  const at = `host: api.example, port: ${String(port)}, privateRanges: [127.0.0.0/8]`;
  world = await egressWorld({
    rules: `  - { ${at}, methods: [POST], paths: [/rpc], jsonrpc: { methods: [tools/list] } }
  - { ${at}, methods: [POST], paths: [/small], maxBody: 1KB }
  - { ${at}, paths: [/few], perMinute: 2 }
  - { ${at}, paths: [/budget], budget: 3KB }
  - { ${at}, methods: [POST], paths: [/other] }
  - { ${at}, methods: [GET, POST], paths: [/v1/**], credential: { secret: model, carrier: 'basic:bot' } }
  - { ${at}, methods: [GET, POST], paths: [/git/repo.git/**], credential: { secret: model, carrier: 'basic:bot' }, git: { push: ['refs/heads/agent/**'] } }
  - { ${at}, methods: [GET, POST], paths: [/git/read.git/**], git: {} }
`,
    upstreamCa: authority.ca,
    placeholders: { model: placeholder },
    secrets: { model: key },
  });
  writeFileSync(join(folder, 'ca.pem'), world.sessionCa);
});
afterAll(() => {
  world.close();
  upstream.closeAllConnections();
  upstream.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  seen = [];
  world.trail.length = 0;
});

function answer(request: IncomingMessage, response: ServerResponse): void {
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
  request.on('end', () => {
    const authorization = request.headers.authorization ?? '';
    seen.push({ url: request.url ?? '', authorization, body });
    if (request.url === '/v1/zipped') {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(gzipSync(`you sent ${key}`));
    } else if (request.url === '/v1/odd') {
      response.writeHead(200, { 'content-encoding': 'compress' });
      response.end('?');
    } else if (request.url === '/v1/basic') response.end(`you sent ${authorization}`);
    else if (request.url === '/v1/fine') {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(gzipSync('nothing secret'));
    } else if (request.url === '/budget') response.end('x'.repeat(2000));
    else response.end('ok');
  });
}

/** The real git's own server side, as CGI (RFC 3875). */
function gitBackend(request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = (request.url ?? '').split('?');
  seen.push({ url: request.url ?? '', authorization: request.headers.authorization ?? '', body: '' });
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      GIT_PROJECT_ROOT: join(folder, 'served'),
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path.slice('/git'.length),
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? '',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: 'bot',
      HOME: folder,
    },
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const whole = Buffer.concat(chunks);
    const end = whole.indexOf('\r\n\r\n');
    for (const line of whole.subarray(0, end).toString().split('\r\n')) {
      const [name = '', value = ''] = line.split(': ');
      if (name === 'Status') response.statusCode = Number(value.slice(0, 3));
      else response.setHeader(name, value);
    }
    response.end(whole.subarray(end + 4));
  });
}

interface Ran {
  readonly code: number;
  readonly out: string;
}

const run = (program: string, args: readonly string[], cwd = folder): Promise<Ran> =>
  new Promise((resolve) => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      GIT_TERMINAL_PROMPT: '0',
      GIT_SSL_CAINFO: join(folder, 'ca.pem'),
      HTTPS_PROXY: `http://127.0.0.1:${String(world.port)}`,
      GIT_CONFIG_NOSYSTEM: '1',
    };
    execFile(program, args, { cwd, env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out: stdout + stderr });
    });
  });
const url = (path: string): string => `https://api.example:${String(port)}${path}`;
const curl = async (path: string, ...more: string[]): Promise<string> => {
  const args = ['-sS', '--cacert', join(folder, 'ca.pem'), '-w', '\n%{http_code}'];
  const { out } = await run('curl', [...args, ...more, url(path)]);
  return out;
};

describe('rules that look further than host, method and path, with the real curl', () => {
  const json = ['-H', 'content-type: application/json', '--data-binary'];
  it('lets a named JSON-RPC method through byte for byte, and no other', async () => {
    const body = '{"jsonrpc":"2.0", "id":1,\n"method":"tools/list"}';
    expect(await curl('/rpc', ...json, body)).toBe('ok\n200');
    expect(seen).toMatchObject([{ url: '/rpc', body }]);
    const refused = await curl('/rpc', ...json, '{"jsonrpc":"2.0","id":1,"method":"tools/call"}');
    expect(refused).toContain('does not allow the method');
    expect(refused).toMatch(/\n403$/);
    expect(seen).toHaveLength(1);
  });
  it('[R45] bounds a body, said or unsaid, requests within a minute, and bytes of a session', async () => {
    const chunked = ['-H', 'transfer-encoding: chunked', '--http1.1', '--data-binary'];
    expect(await curl('/small', ...chunked, 'x'.repeat(1024))).toBe('ok\n200');
    expect(await curl('/small', '--data-binary', 'x'.repeat(1025))).toMatch(
      /larger than the rule allows.*\n403$/s,
    );
    expect(await curl('/small', ...chunked, 'x'.repeat(5000))).toMatch(
      /larger than the rule allows.*\n403$/s,
    );
    expect([await curl('/few'), await curl('/few')]).toEqual(['ok\n200', 'ok\n200']);
    expect(await curl('/few')).toMatch(/requests within a minute.*\n403$/s);
    expect(await curl('/budget')).toMatch(/\n200$/);
    expect(await curl('/budget')).not.toContain('x'.repeat(2000));
    expect(await curl('/budget')).toMatch(/used up.*\n403$/s);
  });
  it('[R27] a placeholder in a body goes to no other host than its own, split over chunks or not, and alerts', async () => {
    const file = join(folder, 'body');
    writeFileSync(file, `${'x'.repeat(65_536 - 10)}${placeholder}${'y'.repeat(100_000)}`);
    expect(await curl('/other', '--data-binary', `@${file}`)).toMatch(/holds the placeholder.*\n403$/s);
    expect(await curl('/other', '--data-binary', `a${placeholder}`)).toMatch(
      /holds the placeholder.*\n403$/s,
    );
    expect(seen.filter(({ body }) => body.includes(placeholder))).toEqual([]);
    expect(world.trail.filter(({ record }) => record?.alert === true)).toHaveLength(2);
    expect(await curl('/other', '--data-binary', `a${placeholder.slice(0, -1)}`)).toBe('ok\n200');
    expect(await curl('/v1/x', '--data-binary', `a${placeholder}`)).toBe('ok\n200');
  });
  it('[R27] a reply that holds the credential is cut, also compressed or in its Basic form', async () => {
    for (const path of ['/v1/zipped', '/v1/odd', '/v1/basic']) {
      const out = await curl(path, '--compressed');
      expect(out, path).not.toContain('0123456789');
      expect(out, path).not.toContain(Buffer.from(`bot:${key}`).toString('base64'));
    }
    expect(await curl('/v1/fine', '--compressed')).toBe('nothing secret\n200');
    expect(seen[0]?.authorization).toBe(`Basic ${Buffer.from(`bot:${key}`).toString('base64')}`);
  });
});

describe('git push and fetch, with the real git on both sides', () => {
  const work = join(folder, 'work');
  beforeAll(async () => {
    mkdirSync(work);
    for (const name of ['repo.git', 'read.git']) {
      await run('git', ['init', '-q', '--bare', '-b', 'main', join(folder, 'served', name)]);
      await run('git', ['-C', join(folder, 'served', name), 'config', 'http.receivepack', 'true']);
    }
    const inWork = (...args: string[]): Promise<Ran> =>
      run('git', ['-C', work, '-c', 'user.name=a', '-c', 'user.email=a@example', ...args]);
    await inWork('init', '-q', '-b', 'main');
    await inWork('commit', '-q', '--allow-empty', '-m', 'one');
    await inWork('push', '-q', join(folder, 'served', 'repo.git'), 'main');
    await inWork('push', '-q', join(folder, 'served', 'read.git'), 'main');
  });
  const push = (repository: string, ...refs: string[]): Promise<Ran> =>
    run('git', [
      '-C',
      work,
      'push',
      `https://x:${placeholder}@api.example:${String(port)}/git/${repository}`,
      ...refs,
    ]);

  it('[R33] clones, and pushes to the refs that the rule names and to no other', async () => {
    const cloned = await run('git', ['clone', '-q', url('/git/read.git'), join(folder, 'clone')]);
    expect(cloned).toEqual({ code: 0, out: '' });
    expect((await push('repo.git', 'main:refs/heads/agent/one')).code).toBe(0);
    expect((await push('repo.git', 'main:refs/heads/other')).out).toContain('403');
    expect((await push('repo.git', 'main:refs/heads/agent/two', 'main:refs/tags/v1')).out).toContain('403');
    expect((await push('repo.git', ':refs/heads/agent/one')).out).toContain('403');
    expect((await push('read.git', 'main:refs/heads/agent/one')).code).not.toBe(0);
    const refs = await run('git', [
      '-C',
      join(folder, 'served', 'repo.git'),
      'for-each-ref',
      '--format=%(refname)',
    ]);
    expect(refs.out.split('\n').filter(Boolean)).toEqual(['refs/heads/agent/one', 'refs/heads/main']);
    expect(
      seen.some(({ authorization }) => authorization.includes(Buffer.from(`bot:${key}`).toString('base64'))),
    ).toBe(true);
  });
});
