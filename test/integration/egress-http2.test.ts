import {
  connect,
  constants,
  createSecureServer,
  type ClientHttp2Session,
  type Http2SecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { credentials, loadPackageDefinition, Server, ServerCredentials, type Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { egressWorld, listening, tlsThrough, upstreamAuthority, type EgressWorld } from './egress-world.ts';

const key = 'the-real-key-0123456789';
const placeholder = 'gb-placeholder-abcdefgh';
let upstream: Http2SecureServer;
let upstreamPort: number;
let old: HttpsServer;
let oldPort: number;
let world: EgressWorld;
let seen: { path: string; headers: Record<string, unknown> }[] = [];

beforeAll(async () => {
  const authority = await upstreamAuthority();
  upstream = createSecureServer(await authority.certificate('h2.example'));
  upstream.on('stream', answer);
  upstreamPort = await listening(upstream);
  old = createHttpsServer(await authority.certificate('old.example'), (request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers });
    response.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], trailer: 'x-sum' });
    request.on('data', (chunk: Buffer) => response.write(chunk));
    request.on('end', () => {
      response.addTrailers({ 'x-sum': '7' });
      response.end();
    });
  });
  oldPort = await listening(old);
  world = await egressWorld({
    rules: `  - host: h2.example
    port: ${String(upstreamPort)}
    methods: [GET, HEAD, POST]
    paths: [/v1/**]
    privateRanges: [127.0.0.0/8]
    credential: { secret: model, carrier: header:x-api-key }
  - { host: old.example, port: ${String(oldPort)}, methods: [GET, POST], privateRanges: [127.0.0.0/8] }
`,
    upstreamCa: authority.ca,
    placeholders: { model: placeholder },
    secrets: { model: key },
  });
});
afterAll(() => {
  world.close();
  upstream.close();
  old.closeAllConnections();
  old.close();
});
beforeEach(() => {
  seen = [];
  world.trail.length = 0;
});

function answer(stream: ServerHttp2Stream, headers: Record<string, unknown>): void {
  const path = String(headers[':path']);
  seen.push({ path, headers });
  stream.on('error', () => undefined);
  if (path === '/v1/trailers-only') {
    stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true });
    return;
  }
  if (path === '/v1/reset') {
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  if (path === '/v1/leak') {
    stream.respond({ ':status': 200 });
    stream.end(`you sent ${String(headers['x-api-key'])}`);
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'text/plain' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0', 'x-sum': '9' });
  });
  if (headers[':method'] === 'GET') stream.end('hello');
  else stream.pipe(stream);
}

async function session(host: string, port: number): Promise<ClientHttp2Session> {
  const tls = await tlsThrough(world, host, port, ['h2']);
  expect(tls.alpnProtocol).toBe('h2');
  const client = connect(`https://${host}:${String(port)}`, { createConnection: () => tls });
  client.on('error', () => undefined);
  return client;
}

interface Reply {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly text: string;
  readonly trailers: Record<string, unknown>;
  readonly code: number;
}

function ask(client: ClientHttp2Session, headers: Record<string, string>, body?: Buffer): Promise<Reply> {
  return new Promise((resolve) => {
    const stream = client.request({ ':path': '/v1/a', ...headers }, { endStream: body === undefined });
    let status = 0;
    let got: Record<string, unknown> = {};
    let trailers: Record<string, unknown> = {};
    let text = '';
    stream.on('response', (answered) => {
      status = Number(answered[':status']);
      got = answered;
    });
    stream.on('trailers', (last: Record<string, unknown>) => (trailers = last));
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    stream.on('error', () => undefined);
    stream.on('close', () => {
      resolve({ status, headers: got, text, trailers, code: stream.rstCode });
    });
    if (body !== undefined) stream.end(body);
  });
}

describe('the egress proxy, by HTTP/2', () => {
  it('[R27] adds the credential on both sides’ HTTP/2, and passes trailers on', async () => {
    const client = await session('h2.example', upstreamPort);
    const reply = await ask(client, { 'x-api-key': placeholder });
    expect(reply).toMatchObject({
      status: 200,
      text: 'hello',
      trailers: { 'grpc-status': '0', 'x-sum': '9' },
    });
    expect(seen).toMatchObject([{ path: '/v1/a', headers: { 'x-api-key': key } }]);
    expect(world.trail.map(({ kind }) => kind)).toEqual(['intent', 'outcome ok']);
    client.close();
  });
  it('speaks HTTP/1.1 with an upstream that knows nothing newer: cookies apart, trailers, chunks', async () => {
    const client = await session('old.example', oldPort);
    const reply = await ask(client, { ':method': 'POST', ':path': '/x', te: 'trailers' }, Buffer.from('abc'));
    expect(reply).toMatchObject({ status: 200, text: 'abc', trailers: { 'x-sum': '7' } });
    expect(reply.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(seen[0]?.headers).toMatchObject({ 'transfer-encoding': 'chunked' });
    client.close();
  });
  it('carries many requests beside one another, each decided by itself', async () => {
    const client = await session('h2.example', upstreamPort);
    const replies = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        ask(client, { ':path': i % 3 === 0 ? '/v2/no' : `/v1/${String(i)}` }),
      ),
    );
    expect(replies.filter(({ status }) => status === 403)).toHaveLength(20);
    expect(replies.filter(({ status, text }) => status === 200 && text === 'hello')).toHaveLength(40);
    expect(seen).toHaveLength(40);
    client.close();
  });
  it('refuses another :authority on a connection, also after one that was right; no coalescing', async () => {
    const client = await session('h2.example', upstreamPort);
    expect((await ask(client, {})).status).toBe(200);
    for (const authority of [
      'old.example',
      `old.example:${String(oldPort)}`,
      `H2.example.:${String(upstreamPort)}`,
    ])
      expect((await ask(client, { ':authority': authority })).status).toBe(403);
    const right = `h2.example:${String(upstreamPort)}`;
    expect((await ask(client, { ':authority': right, host: right })).status).toBe(403);
    expect((await ask(client, {})).status).toBe(200);
    expect(seen).toHaveLength(2);
    client.close();
  });
  it('cuts a reply that holds the credential', async () => {
    const client = await session('h2.example', upstreamPort);
    const reply = await ask(client, { ':path': '/v1/leak' });
    expect(reply.text).not.toContain(key);
    expect(reply.code).not.toBe(0);
    expect((await ask(client, {})).status).toBe(200);
    client.close();
  });
  it('hands on an answer of headers alone, and a stream that the upstream resets', async () => {
    const client = await session('h2.example', upstreamPort);
    expect(await ask(client, { ':path': '/v1/trailers-only' })).toMatchObject({
      status: 200,
      headers: { 'grpc-status': '5' },
    });
    expect((await ask(client, { ':path': '/v1/reset' })).status).toBe(502);
    expect((await ask(client, { ':method': 'HEAD' })).status).toBe(200);
    client.close();
  });
  it('is not reached by prior knowledge outside TLS, nor by an upgrade to h2c', async () => {
    const tls = await tlsThrough(world, 'h2.example', upstreamPort, ['http/1.1']);
    let text = '';
    tls.on('data', (chunk: Buffer) => (text += chunk.toString()));
    tls.write(
      `GET /v1/a HTTP/1.1\r\nhost: h2.example:${String(upstreamPort)}\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n`,
    );
    await expect.poll(() => text).toMatch(/^HTTP\/1\.1 403 /);
    expect(seen).toEqual([]);
    tls.destroy();
  });
  it('a client that leaves ends its request upstream', async () => {
    const client = await session('h2.example', upstreamPort);
    const stream = client.request({ ':path': '/v1/open', ':method': 'POST' }, { endStream: false });
    stream.on('error', () => undefined);
    stream.write(Buffer.from('begun'));
    await expect.poll(() => seen).toHaveLength(1);
    stream.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => world.trail.map(({ kind }) => kind)).toContain('outcome unknown');
    client.close();
  });
  it('200 requests that are reset at once leave it as it was', async () => {
    const client = await session('h2.example', upstreamPort);
    for (let i = 0; i < 200; i += 1) {
      const stream = client.request({ ':path': '/v1/a' });
      stream.on('error', () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    client.destroy();
    const next = await session('h2.example', upstreamPort);
    expect((await ask(next, {})).text).toBe('hello');
    next.close();
  });
});

describe('gRPC by its own library', () => {
  const echo = {
    serialize: (value: Buffer): Buffer => value,
    deserialize: (bytes: Buffer): Buffer => bytes,
  };
  const method = (path: string, requestStream: boolean, responseStream: boolean): object => ({
    path,
    requestStream,
    responseStream,
    requestSerialize: echo.serialize,
    requestDeserialize: echo.deserialize,
    responseSerialize: echo.serialize,
    responseDeserialize: echo.deserialize,
  });
  const service = {
    One: method('/v1/One', false, false),
    Many: method('/v1/Many', true, true),
  };

  it('unary and streaming calls, status and metadata, through CONNECT', async () => {
    const authority = await upstreamAuthority();
    const { key: keyPem, cert } = await authority.certificate('grpc.example');
    const server = new Server();
    server.addService(service as never, {
      One: (call: { request: Buffer }, done: (error: object | null, value?: Buffer) => void) => {
        if (call.request.toString() === 'fail') done({ code: 7, details: 'no' });
        else done(null, Buffer.concat([Buffer.from('one '), call.request]));
      },
      Many: (call: NodeJS.ReadWriteStream) => {
        call.on('data', (chunk: Buffer) => call.write(chunk));
        call.on('end', () => call.end());
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      const chain = [{ private_key: Buffer.from(keyPem), cert_chain: Buffer.from(cert) }];
      server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, chain), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    const grpc = await egressWorld({
      rules: `  - { host: grpc.example, port: ${String(port)}, methods: [POST], paths: [/v1/*], privateRanges: [127.0.0.0/8] }\n`,
      upstreamCa: authority.ca,
    });
    vi.stubEnv('grpc_proxy', `http://127.0.0.1:${String(grpc.port)}`);
    const Echo = loadPackageDefinition({ Echo: service } as never)['Echo'] as unknown as new (
      address: string,
      security: unknown,
    ) => Client & {
      One(value: Buffer, done: (error: { code: number } | null, reply?: Buffer) => void): void;
      Many(): NodeJS.ReadWriteStream;
    };
    const client = new Echo(
      `grpc.example:${String(port)}`,
      credentials.createSsl(Buffer.from(grpc.sessionCa)),
    );
    const one = (text: string): Promise<string> =>
      new Promise((resolve) => {
        client.One(Buffer.from(text), (error, reply) => {
          resolve(error === null ? String(reply) : `code ${String(error.code)}`);
        });
      });
    expect(await one('x')).toBe('one x');
    expect(await one('fail')).toBe('code 7');
    const many = client.Many();
    const got: string[] = [];
    for (const word of ['a', 'b', 'c']) {
      const back = new Promise<void>((resolve) =>
        many.once('data', () => {
          resolve();
        }),
      );
      many.once('data', (chunk: Buffer) => got.push(chunk.toString()));
      many.write(Buffer.from(word));
      await back;
    }
    const ended = new Promise((resolve) => many.once('status', resolve));
    many.resume();
    many.end();
    expect(await ended).toMatchObject({ code: 0 });
    expect(got).toEqual(['a', 'b', 'c']);
    vi.unstubAllEnvs();
    client.close();
    server.forceShutdown();
    grpc.close();
  });
});
