import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limits, type CredentialUse, type ToBeSigned } from '../../pure/contracts/index.ts';
import { brokerWorld, session, type BrokerWorld } from './broker-world.ts';
import { egressWorld, listening, tlsThrough, upstreamAuthority, type EgressWorld } from './egress-world.ts';
import { verifySigV4, type Received } from './sigv4-verifier.ts';

const id = 'AKIACANARY0123456789';
const secret = 'canary/secret+key0123456789';
const placeholder = 'gb-placeholder-aws-0123';
const folder = mkdtempSync(join(tmpdir(), 'gb-aws-'));
const received: { seen: Received; verdict: string | null }[] = [];
let upstream: Server;
let world: EgressWorld;
let broker: BrokerWorld;
let port: number;
const wire: string[] = [];

beforeAll(async () => {
  const authority = await upstreamAuthority();
  upstream = createServer(await authority.certificate('bucket.example'), (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const seen: Received = {
        method: request.method ?? '',
        target: request.url ?? '',
        headers: Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        ),
        body: Buffer.concat(chunks),
      };
      const s3 = (seen.headers['authorization'] ?? '').includes('/s3/');
      received.push({ seen, verdict: verifySigV4(seen, { [id]: secret }, { s3 }) });
      response.end(seen.target.startsWith('/echo') ? seen.headers['authorization'] : 'stored');
    });
  });
  port = await listening(upstream);
  const at = { host: 'bucket.example', port };
  const uses: CredentialUse[] = [
    {
      ...at,
      secret: 'aws',
      carrier: 'aws:s3:eu-west-1',
      methods: ['GET', 'PUT'],
      paths: ['/data/**', '/echo'],
    },
    { ...at, secret: 'aws', carrier: 'aws:dynamodb:eu-west-1', methods: ['POST'], paths: ['/'] },
  ];
  broker = await brokerWorld(folder, uses);
  // Intents are of now, by the clock of the world.
  await broker.set('aws', 'aws', { accessKeyId: id, secretAccessKey: secret, sessionToken: 'session-token' });
  world = await egressWorld({
    upstreamCa: authority.ca,
    placeholders: { aws: placeholder },
    rules: uses
      .map(
        ({ carrier, methods, paths }) =>
          `  - { host: bucket.example, port: ${String(port)}, methods: [${methods.join(', ')}], paths: [${paths.join(', ')}], ` +
          `privateRanges: [127.0.0.0/8], credential: { secret: aws, carrier: '${carrier}' } }`,
      )
      .join('\n'),
    signRequest: async (name, _, request) => {
      const answer = await broker.broker.sign(session, name, broker.intent(name), request);
      wire.push(JSON.stringify(answer));
      return answer;
    },
  });
});
afterAll(() => {
  world.close();
  upstream.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  received.length = 0;
});

const ownSignature = (key: string): string =>
  `AWS4-HMAC-SHA256 Credential=${key}/20261101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=${'0'.repeat(64)}`;

async function send(
  method: string,
  path: string,
  headers: Record<string, string | string[]> = {},
  body: string | Buffer = '',
): Promise<{ status: number; text: string }> {
  const socket = await tlsThrough(world, 'bucket.example', port, ['http/1.1']);
  return await new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      method,
      path,
      headers: {
        host: `bucket.example:${String(port)}`,
        ...(body === '' ? {} : { 'content-length': Buffer.byteLength(body) }),
        ...headers,
      },
    });
    request.once('error', reject);
    request.once('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('close', () => {
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    request.end(body);
  });
}

describe('the verifier that these tests stand on', () => {
  const vanilla = (target: string, signature: string): Received => ({
    method: 'GET',
    target,
    headers: {
      host: 'example.amazonaws.com',
      'x-amz-date': '20150830T123600Z',
      authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=${signature}`,
    },
    body: Buffer.alloc(0),
  });
  const keys = { AKIDEXAMPLE: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };

  it.each([
    ['get-vanilla', '/', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    [
      'get-vanilla-query-order-key-case',
      '/?Param2=value2&Param1=value1',
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ],
  ])('accepts %s of AWS’s public suite, and no other', (_, target, signature) => {
    expect(verifySigV4(vanilla(target, signature), keys, { s3: false })).toBeNull();
    expect(verifySigV4(vanilla(`${target}x`, signature), keys, { s3: false })).toContain('wrong');
  });
});

describe('AWS Signature version 4', () => {
  it.each([
    '/data/plain.txt',
    '/data/a%20b/(c)!*.txt?list-type=2&prefix=a%2Fb&empty',
    '/data/%C3%A4?X=1&a=2&a=1&plus=a+b',
    "/data/it's~fine",
  ])('[R27] signs %s so that the service computes the same', async (path) => {
    expect(await send('GET', path)).toEqual({ status: 200, text: 'stored' });
    expect(received.map(({ verdict }) => verdict)).toEqual([null]);
    expect(received[0]?.seen.headers['x-amz-security-token']).toBe('session-token');
  });

  it('[R27] what a client in the sandbox signed with its placeholder is replaced whole', async () => {
    const answer = await send(
      'PUT',
      '/data/x',
      {
        authorization: ownSignature(placeholder),
        'x-amz-date': '20200101T000000Z',
        'x-amz-security-token': placeholder,
        'x-amz-content-sha256': createHash('sha256').update('hello').digest('hex'),
        'x-amz-meta-note': 'one   two',
        'content-type': 'text/plain',
      },
      'hello',
    );
    expect(answer).toEqual({ status: 200, text: 'stored' });
    expect(received.map(({ verdict }) => verdict)).toEqual([null]);
    expect(JSON.stringify(received[0]?.seen.headers)).not.toContain(placeholder);
  });

  it.each([
    ['a key of its own', { authorization: ownSignature('AKIAATTACKER12345678') }],
    ['a key that only begins as the placeholder', { authorization: ownSignature(`${placeholder}x`) }],
    ['a token of its own', { authorization: ownSignature(placeholder), 'x-amz-security-token': 'other' }],
    ['a bearer token', { authorization: 'Bearer mine' }],
    ['two hashes', { 'x-amz-content-sha256': ['UNSIGNED-PAYLOAD', 'UNSIGNED-PAYLOAD'] }],
    ['pieces signed with its own key', { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' }],
    ['a copy of what the rule does not name', { 'x-amz-copy-source': '/other-bucket/secret' }],
  ])('refuses %s', async (_, headers: Record<string, string | string[]>) => {
    expect((await send('PUT', '/data/x', headers, 'hello')).status).toBe(403);
    expect(received).toEqual([]);
  });

  it.each([
    'X-Amz-Signature=00',
    'X-Amz-Credential=AKIA',
    'x-amz-security%2Dtoken=t',
    'X-Amz-Algorithm=AWS4',
  ])('refuses a presigned address (%s)', async (query) => {
    expect((await send('GET', `/data/x?${query}`)).status).toBe(403);
    expect(received).toEqual([]);
  });

  it('S3 takes a body that streams, unsigned, without it being held back', async () => {
    const body = Buffer.alloc(limits.egressSignedBody.value + 1, 'x');
    expect((await send('PUT', '/data/big', {}, body)).status).toBe(200);
    expect(received[0]?.verdict).toBeNull();
    expect(received[0]?.seen.headers['x-amz-content-sha256']).toBe('UNSIGNED-PAYLOAD');
    expect(received[0]?.seen.body.length).toBe(body.length);
  });

  it('[R45] other services get the hash of the body, up to a bound', async () => {
    const json = {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'DynamoDB_20120810.GetItem',
    };
    expect((await send('POST', '/', json, '{"TableName":"t"}')).status).toBe(200);
    expect(received[0]?.verdict).toBeNull();
    expect(received[0]?.seen.headers['x-amz-content-sha256']).toMatch(/^[0-9a-f]{64}$/);
    const large = await send('POST', '/', json, Buffer.alloc(limits.egressSignedBody.value + 1, 'x'));
    expect(large.status).toBeGreaterThanOrEqual(400);
    expect(
      (await send('POST', '/', { ...json, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, '{}')).status,
    ).toBe(403);
    expect(received).toHaveLength(1);
  });

  it('signs what comes by HTTP/2 too', async () => {
    const socket = await tlsThrough(world, 'bucket.example', port, ['h2']);
    const client = connectHttp2(`https://bucket.example:${String(port)}`, { createConnection: () => socket });
    const stream = client.request({ ':path': '/data/h2', ':authority': `bucket.example:${String(port)}` });
    const status = await new Promise((resolve) => {
      stream.once('response', (headers) => {
        resolve(headers[':status']);
      });
    });
    client.destroy();
    expect(status).toBe(200);
    expect(received.map(({ verdict }) => verdict)).toEqual([null]);
  });

  it('a reply that shows the signature is cut', async () => {
    const answer = await send('GET', '/echo').catch(() => ({ status: 0, text: '' }));
    expect(answer.text).not.toMatch(/Signature=[0-9a-f]{64}/);
    expect(received.map(({ verdict }) => verdict)).toEqual([null]);
  });

  const request = (more: Partial<ToBeSigned> = {}): ToBeSigned => ({
    service: 's3',
    region: 'eu-west-1',
    method: 'GET',
    host: 'bucket.example',
    port,
    target: '/data/x',
    headers: [],
    payload: 'UNSIGNED-PAYLOAD',
    ...more,
  });

  it.each([
    ['another host', { host: 'other.example' }],
    ['another port', { port: 1 }],
    ['another method', { method: 'DELETE' }],
    ['another path', { target: '/private/x' }],
    ['a path that climbs', { target: '/data/../private/x' }],
    ['another region', { region: 'us-east-1' }],
    ['another service', { service: 'iam' }],
  ])('[R32] the broker signs nothing for %s, whatever the sidecar says', async (_, more) => {
    await expect(
      broker.broker.sign(session, 'aws', broker.intent('aws'), request(more)),
    ).rejects.toMatchObject({
      code: 'GB_SECRET_REFUSED',
    });
    const right = await broker.broker.sign(session, 'aws', broker.intent('aws'), request());
    expect(right.headers['authorization']).toContain('Signature=');
  });

  it('[R28] one signature for one intent; the key itself is never read', async () => {
    const once = broker.intent('aws');
    await broker.broker.sign(session, 'aws', once, request());
    await expect(broker.broker.sign(session, 'aws', once, request())).rejects.toMatchObject({
      code: 'GB_SECRET_REFUSED',
    });
    await expect(broker.read('aws')).rejects.toMatchObject({ code: 'GB_SECRET_REFUSED' });
    expect(wire.length).toBeGreaterThan(5);
    expect([...wire, ...broker.wire].join('\n')).not.toContain(secret);
  });
});
