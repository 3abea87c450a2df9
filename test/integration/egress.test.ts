import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer, type Server as HttpsServer } from 'node:https';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as tlsConnect } from 'node:tls';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Secret, type SidecarPolicy } from '../../pure/contracts/index.ts';
import { parsePolicy } from '../../pure/policy/index.ts';
import {
  createEgress,
  type EgressProxy,
  type EgressRecord,
  type EgressTraffic,
} from '../../trusted/egress/index.ts';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';

const key = 'the-real-key-0123456789';
const placeholder = 'gb-placeholder-abcdefgh';
const folder = mkdtempSync(join(tmpdir(), 'gb-egress-'));
let upstream: HttpsServer;
let upstreamPort: number;
let proxy: EgressProxy;
let door: Server;
let doorPort: number;
let sessionCa: string;
let audit: {
  kind: string;
  record: EgressRecord | null;
  detail: string;
  traffic?: EgressTraffic | undefined;
}[] = [];
let seen: { url: string; headers: IncomingMessage['headers']; body: string }[] = [];
let answers: Record<string, readonly string[]> = {};
let resolved: string[] = [];
let auditDown = false;
let turnOpen = true;
let granted: string[] = [];
let rules: SidecarPolicy['egress'] = [];

beforeAll(async () => {
  const upstreamAuthority = await SessionAuthority.create('upstream', Date.now(), 3_600_000);
  const certificate = await upstreamAuthority.issue('api.example', Date.now());
  upstream = createTlsServer({ key: certificate.keyPem, cert: certificate.chainPem }, answer);
  upstream.on('upgrade', (request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
    socket.on('data', (chunk: Buffer) => socket.write(Buffer.concat([Buffer.from('echo '), chunk])));
    seen.push({ url: request.url ?? '', headers: request.headers, body: '' });
  });
  upstreamPort = await listen(upstream);
  const session = await SessionAuthority.create('abc', Date.now(), 3_600_000);
  sessionCa = session.certificatePem;
  writeFileSync(join(folder, 'ca.pem'), sessionCa);
  const policy = parsePolicy(
    `version: 1
egress:
  - host: api.example
    port: ${String(upstreamPort)}
    methods: [GET, POST]
    paths: [/v1/**]
    privateRanges: [127.0.0.0/8]
    credential: { secret: model, carrier: header:x-api-key }
  - { host: rebind.example, port: ${String(upstreamPort)} }
  - { host: asked.example, port: ${String(upstreamPort)}, methods: [POST], decision: ask, privateRanges: [127.0.0.0/8] }
  - { host: other.example, port: ${String(upstreamPort)}, privateRanges: [127.0.0.0/8] }
`,
    'test',
  );
  rules = policy.egress.map((rule, i) => ({
    ...rule,
    id: `egress.${String(i)}`,
    caPem: upstreamAuthority.certificatePem,
  }));
  proxy = createEgress({
    policy: {
      get egress() {
        return rules;
      },
      placeholders: { model: placeholder },
    },
    certificateFor: (host) => session.issue(host, Date.now()),
    stamp: () => (turnOpen ? { user: 'local/0', turnId: 't' } : null),
    audit: {
      intent: (record) => {
        if (auditDown) return Promise.reject(new Error('down'));
        audit.push({ kind: 'intent', record, detail: '' });
        return Promise.resolve({ sequence: audit.length });
      },
      outcome: (_, result, detail, traffic) => {
        audit.push({ kind: `outcome ${result}`, record: null, detail, traffic });
        return Promise.resolve();
      },
      event: (record) => audit.push({ kind: 'event', record, detail: '' }),
    },
    signRequest: () => Promise.reject(new Error('nothing is signed here')),
    readSecret: () => Promise.resolve(new Secret(key)),
    resolve: (host) => {
      resolved.push(host);
      return Promise.resolve(answers[host] ?? ['127.0.0.1']);
    },
    takeGrant: (_, scope) =>
      Promise.resolve(
        granted.splice(granted.indexOf(scope), granted.includes(scope) ? 1 : 0).length > 0
          ? { id: scope, over: () => undefined }
          : null,
      ),
  });
  door = createServer((socket) => {
    proxy.handle(socket);
  });
  doorPort = await listen(door);
});
afterAll(() => {
  proxy.close();
  door.close();
  upstream.closeAllConnections();
  upstream.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  audit = [];
  seen = [];
  resolved = [];
  answers = {};
  auditDown = false;
  turnOpen = true;
  granted = [];
});

const listen = (server: Server | HttpsServer): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve((server.address() as AddressInfo).port);
    });
  });

function answer(request: IncomingMessage, response: ServerResponse): void {
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    seen.push({ url: request.url ?? '', headers: request.headers, body });
    if (request.url === '/v1/redirect')
      response.writeHead(302, { location: 'https://other.example/steal' }).end();
    else if (request.url === '/v1/echo') {
      const header = String(request.headers['x-api-key']);
      response.write(`you sent ${header.slice(0, 9)}`);
      setImmediate(() => response.end(`${header.slice(9)}!`));
    } else if (request.url?.startsWith('/v1/stream') === true) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: first\n\n');
    } else response.end(`hello ${body}`);
  });
}

/** The real curl, through the door. */
function curl(path: string, ...more: string[]): Promise<{ code: number; out: string; status: string }> {
  return new Promise((resolve) => {
    const url = path.startsWith('https') ? path : `https://api.example:${String(upstreamPort)}${path}`;
    const args = [
      '-sS',
      '--max-time',
      '60',
      '-x',
      `http://127.0.0.1:${String(doorPort)}`,
      '--cacert',
      join(folder, 'ca.pem'),
      '-w',
      '\n%{http_code} %{http_connect}',
      ...more,
      url,
    ];
    execFile('curl', args, { maxBuffer: 64_000_000 }, (error, stdout, stderr) => {
      const lines = stdout.split('\n');
      const status = lines.pop() ?? '';
      resolve({
        code: typeof error?.code === 'number' ? error.code : 0,
        out: lines.join('\n') + (error === null ? '' : stderr),
        status,
      });
    });
  });
}

describe('the egress proxy, with the real curl', () => {
  it('[R27] adds the credential outside the sandbox, after its intent is stored', async () => {
    const { out, status } = await curl('/v1/a', '-H', `x-api-key: ${placeholder}`, '-d', 'body');
    expect(status).toBe('200 200');
    expect(out).toBe('hello body');
    expect(seen).toMatchObject([{ url: '/v1/a', headers: { 'x-api-key': key }, body: 'body' }]);
    expect(audit.map((entry) => entry.kind)).toEqual(['intent', 'outcome ok']);
    expect(audit[0]?.record).toMatchObject({ decision: 'allow', rule: 'egress.0', secret: 'model' });
  });
  it('[R41] writes down of each request its rule, address, bytes and time', async () => {
    await curl('/v1/a', '-d', 'body');
    await curl('/v1/a');
    await expect.poll(() => audit.length).toBe(4);
    expect(audit[0]?.record).toMatchObject({
      rule: 'egress.0',
      target: `https://api.example:${String(upstreamPort)}/v1/a`,
    });
    expect(audit[1]?.traffic).toMatchObject({ status: 200, address: '127.0.0.1', sent: 4, received: 10 });
    expect(audit[3]?.traffic).toMatchObject({ sent: 0, received: 6 });
    expect(audit[3]?.traffic?.ms).toBeGreaterThanOrEqual(0);
  });
  it('says in the body which rule is missing, for a program to read', async () => {
    const { out, status } = await curl('/v9/x', '-X', 'DELETE');
    expect(status).toBe('403 200');
    expect(JSON.parse(out)).toMatchObject({
      error: {
        code: 'GB_EGRESS_DENIED',
        rule: 'egress.default',
        needs: { host: 'api.example', port: upstreamPort, method: 'DELETE', path: '/v9/x' },
      },
    });
  });
  it('refuses a host on no rule before it resolves anything, and says what to ask for', async () => {
    const { status } = await curl('https://evil.example/');
    expect(status).toBe('000 403');
    expect(resolved).toEqual([]);
    expect(audit[0]?.record).toMatchObject({ decision: 'deny', rule: 'egress.default' });
  });
  it('[R18] refuses a name that leads to a private address, and one of several', async () => {
    answers = { 'rebind.example': ['127.0.0.1'] };
    expect((await curl(`https://rebind.example:${String(upstreamPort)}/`)).status).toBe('403 200');
    answers = { 'rebind.example': ['93.184.216.34', '::ffff:10.0.0.1'] };
    expect((await curl(`https://rebind.example:${String(upstreamPort)}/`)).status).toBe('403 200');
    expect(seen).toEqual([]);
    expect((await curl('/v1/a')).status).toBe('200 200');
  });
  it('connects to the address that it checked: the name is asked once for each connection', async () => {
    await curl('/v1/once', '-H', 'x-n: 1');
    expect(resolved.filter((host) => host === 'api.example').length).toBeLessThanOrEqual(1);
  });
  it('[R42] lets nothing out that is not written down', async () => {
    auditDown = true;
    expect((await curl('/v1/a')).status).toBe('500 200');
    expect(seen).toEqual([]);
  });
  it('lets nothing with a credential out while no turn is open', async () => {
    turnOpen = false;
    expect((await curl('/v1/a')).status).toBe('403 200');
    expect(seen).toEqual([]);
  });
  it('refuses another method, another path, and a credential of its own', async () => {
    expect((await curl('/v1/a', '-X', 'DELETE')).status).toBe('403 200');
    expect((await curl('/v2/a')).status).toBe('403 200');
    expect((await curl('/v1/a', '-H', 'authorization: Bearer its-own')).status).toBe('403 200');
    expect((await curl('/v1/%2e%2e/v2/a', '--path-as-is')).status).toBe('403 200');
    expect(seen).toEqual([]);
  });
  it('refuses a Host that is not the connected one, also on a kept connection', async () => {
    expect((await curl('/v1/a', '-H', 'host: other.example')).status).toBe('403 200');
    const reply = await raw([
      'GET /v1/a HTTP/1.1',
      `host: api.example:${String(upstreamPort)}`,
      '',
      'GET /v1/b HTTP/1.1',
      `host: other.example:${String(upstreamPort)}`,
      '',
      '',
    ]);
    expect(reply).toMatch(/^HTTP\/1\.1 200/);
    expect(reply).toContain('GB_EGRESS_DENIED');
    expect(seen.map(({ url }) => url)).toEqual(['/v1/a']);
  });
  it.each([
    ['both framings', ['content-length: 4', 'transfer-encoding: chunked'], '0\r\n\r\n'],
    ['two lengths', ['content-length: 4', 'content-length: 5'], 'aaaa'],
    ['an obsolete fold', ['x-a: b', ' c: d'], ''],
    ['a space before the colon', ['content-length : 4'], 'aaaa'],
    ['a bare line feed in a value', ['x-a: b\nc: d'], ''],
  ])('refuses %s', async (_, headers, body) => {
    const reply = await raw([
      'POST /v1/a HTTP/1.1',
      `host: api.example:${String(upstreamPort)}`,
      'connection: close',
      ...headers,
      '',
      body,
    ]);
    expect(reply).toMatch(/^HTTP\/1\.1 40[03]/);
    expect(seen).toEqual([]);
  });
  it('hands a redirect over and does not follow it', async () => {
    expect((await curl('/v1/redirect')).status).toBe('302 200');
    expect(seen).toHaveLength(1);
  });
  it('cuts a reply that holds the credential, split over chunks', async () => {
    const { code, out } = await curl('/v1/echo');
    expect(code).not.toBe(0);
    expect(out).not.toContain(key);
  });
  it('passes the first event of a stream on at once', async () => {
    const reply = await raw(
      ['GET /v1/stream HTTP/1.1', `host: api.example:${String(upstreamPort)}`, '', ''],
      'data: first',
    );
    expect(reply).toContain('data: first');
  });
  it('carries a WebSocket', async () => {
    const reply = await raw(
      [
        'GET /v1/ws HTTP/1.1',
        `host: api.example:${String(upstreamPort)}`,
        'connection: Upgrade',
        'upgrade: websocket',
        'sec-websocket-key: x',
        'sec-websocket-version: 13',
        '',
        'ping',
      ],
      'echo ping',
    );
    expect(reply).toContain('101 Switching Protocols');
    expect(seen[0]?.headers['x-api-key']).toBe(key);
  });
  it('[R40] a narrower policy cuts what is under way, and nothing else', async () => {
    const url = `https://api.example:${String(upstreamPort)}`;
    const before = rules;
    const stream = (target: string): { text: () => string; ended: Promise<number | null> } => {
      const proxied = ['-x', `http://127.0.0.1:${String(doorPort)}`, '--cacert', join(folder, 'ca.pem')];
      const child = spawn('curl', ['-sSN', '--max-time', '20', ...proxied, target]);
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
      return { text: () => text, ended: new Promise((resolve) => child.on('close', resolve)) };
    };
    const [kept, cut] = [stream(`${url}/v1/stream`), stream(`${url}/v1/streams`)];
    await expect.poll(() => [kept.text(), cut.text()]).toEqual(['data: first\n\n', 'data: first\n\n']);
    try {
      // What the one asked for stays permitted, what the other did no longer is.
      rules = before.slice(0, 1).map((rule) => ({ ...rule, paths: ['/v1/stream', '/v1/a'] }));
      proxy.recheck();
      expect(await cut.ended).not.toBe(28);
      expect((await curl('/v1/streams')).status).toBe('403 200');
      expect((await curl('/v1/a')).status).toBe('200 200');
      expect(audit.filter(({ record }) => record?.detail?.startsWith('cut') === true)).toMatchObject([
        { record: { decision: 'deny', target: `${url}/v1/streams` } },
      ]);
    } finally {
      rules = before;
    }
    proxy.recheck();
    upstream.closeAllConnections();
    // A part of a transfer, by HTTP/1.1 or HTTP/2.
    expect([18, 92]).toContain(await kept.ended);
    expect(kept.text()).toBe('data: first\n\n');
  });
  it('asks where the rule asks, and spends the grant', async () => {
    const url = `https://asked.example:${String(upstreamPort)}/a`;
    expect((await curl(url, '-d', 'x')).out).toContain(
      `"scope":"egress:post:/asked.example:${String(upstreamPort)}/a"`,
    );
    granted = [`egress:post:/asked.example:${String(upstreamPort)}/a`];
    // The upstream's certificate is for another name: the control is that the request got as far as its TLS.
    expect((await curl(url, '-d', 'x')).status).toBe('502 200');
    expect((await curl(url, '-d', 'x')).status).toBe('403 200');
  });
  it('does not talk to an upstream whose certificate is for another name', async () => {
    expect((await curl(`https://other.example:${String(upstreamPort)}/`)).status).toBe('502 200');
    expect(seen).toEqual([]);
  });
  it('carries 20 MB both ways', async () => {
    const file = join(folder, 'big');
    writeFileSync(file, 'x'.repeat(20_000_000));
    const { out, status } = await curl('/v1/big', '--data-binary', `@${file}`);
    expect(status).toBe('200 200');
    expect(out.length === 20_000_006).toBe(true);
  });
});

/** Bytes as written, over TLS through the door; resolves with the reply once it ends or holds `until`. */
function raw(lines: string[], until?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(doorPort, '127.0.0.1');
    socket.write(
      `CONNECT api.example:${String(upstreamPort)} HTTP/1.1\r\nhost: api.example:${String(upstreamPort)}\r\n\r\n`,
    );
    socket.once('data', () => {
      const tls = tlsConnect({ socket, servername: 'api.example', ca: sessionCa });
      let text = '';
      tls.on('secureConnect', () => tls.write(lines.join('\r\n')));
      tls.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (until !== undefined && text.includes(until)) {
          tls.destroy();
          resolve(text);
        }
      });
      tls.on('end', () => {
        resolve(text);
      });
      tls.on('error', reject);
    });
  });
}
