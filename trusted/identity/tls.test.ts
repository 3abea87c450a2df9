import 'reflect-metadata';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type ConnectionOptions, type Server, type TlsOptions } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defaultTrustDomain, type Identity } from '../../pure/contracts/index.ts';
import { peerCaller, peerIdentity } from './caller.ts';
import { fixedSource, TestAuthority, type Minted, type Wanted } from './testing.ts';
import { clientTlsOptions, serverTlsOptions, type TlsIdentity } from './tls.ts';

const id = 'spiffe://glovebox.local/provider/files/main';
const serverId = 'spiffe://glovebox.local/control-plane/main';
const rule = { trustDomain: defaultTrustDomain, role: 'client', now: Date.now } as const;
const hour = 3_600_000;

let authority: TestAuthority;
let foreign: TestAuthority;
let serverSource: TlsIdentity;
const servers: Server[] = [];

beforeAll(async () => {
  authority = await TestAuthority.create();
  foreign = await TestAuthority.create();
  serverSource = await authority.source(serverId);
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Says who the peer is, and ends. */
async function listen(options: TlsOptions): Promise<number> {
  const server = createServer(options, (socket) => {
    socket.on('error', () => undefined);
    const peer = peerIdentity(socket, rule);
    socket.end(peer.ok ? `peer ${peer.value.identity.id}` : `refused: ${peer.reason}`);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What the server said, or why there was nothing. */
function ask(port: number, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    const socket = connect({ host: '127.0.0.1', port, ...options });
    socket.on('data', (bytes: Buffer) => (said += bytes.toString()));
    socket.on('error', (error) => resolve(`closed: ${error.message}`));
    socket.on('close', () => resolve(said === '' ? 'closed' : said));
  });
}

const asClient = (minted: Minted | undefined): ConnectionOptions => ({
  rejectUnauthorized: false,
  ...(minted === undefined ? {} : { key: minted.keyPem, cert: minted.chainPem }),
});

/** A SAN extension of raw GeneralNames, for what no generator would write. */
function rawNames(...names: readonly [tag: number, bytes: Buffer][]): x509.Extension {
  const items = Buffer.concat(
    names.map(([tag, bytes]) => Buffer.concat([Buffer.from([tag, bytes.length]), bytes])),
  );
  return new x509.Extension('2.5.29.17', false, Buffer.concat([Buffer.from([0x30, items.length]), items]));
}
const uri = (text: string, encoding: BufferEncoding = 'latin1'): [number, Buffer] => [
  0x86,
  Buffer.from(text, encoding),
];

/** Refused by TLS itself where the server requires a certificate, and by peerIdentity where it only asks for one. */
const badByChain: readonly [string, () => Promise<Minted | undefined>][] = [
  ['no certificate', async () => undefined],
  ['a foreign CA', () => foreign.mint({ uris: [id] })],
  [
    'an expired one',
    () =>
      authority.mint({
        uris: [id],
        notBefore: new Date(Date.now() - hour),
        notAfter: new Date(Date.now() - 1000),
      }),
  ],
  [
    'one that has not begun',
    () =>
      authority.mint({
        uris: [id],
        notBefore: new Date(Date.now() + hour),
        notAfter: new Date(Date.now() + 2 * hour),
      }),
  ],
  ['one for servers only', () => authority.mint({ uris: [id], usages: [x509.ExtendedKeyUsage.serverAuth] })],
];

const badByName: readonly [string, Wanted][] = [
  ['another trust domain', { uris: ['spiffe://other.local/provider/files/main'] }],
  ['two URI names', { uris: [id, 'spiffe://glovebox.local/signer'] }],
  ['the same URI name twice', { uris: [id, id] }],
  ['a URI name that is no SPIFFE ID beside one that is', { uris: [id, 'https://example.org'] }],
  ['no URI name, and a CN that looks like an ID', { dns: ['localhost'], subject: `CN=${id}` }],
  ['no names at all, and a CN that looks like an ID', { subject: `CN=${id}` }],
  ['an ID as DNS name', { names: [rawNames([0x82, Buffer.from(id)])] }],
  ['an ID as e-mail name', { names: [rawNames([0x81, Buffer.from(id)])] }],
  ['a URI that is no workload', { uris: ['spiffe://glovebox.local/admin'] }],
  ['a NUL in the ID', { names: [rawNames(uri(`${id}\0.evil`))] }],
  ['a NUL after the ID', { names: [rawNames(uri(`${id}\0`))] }],
  ['a line end after the ID', { names: [rawNames(uri(`${id}\n`))] }],
  ['text that reads as a second name', { names: [rawNames(uri(`spiffe://x, URI:${id}`))] }],
  [
    'an overlong UTF-8 slash',
    {
      names: [
        rawNames([
          0x86,
          Buffer.from([...Buffer.from('spiffe://glovebox.local'), 0xc0, 0xaf, ...Buffer.from('signer')]),
        ]),
      ],
    },
  ],
  ['a UTF-16 ID', { names: [rawNames(uri(id, 'utf16le'))] }],
  ['a percent-encoded ID', { uris: ['spiffe://glovebox.local/provider/files%2fmain'] }],
  ['an upper-case trust domain', { uris: ['spiffe://GLOVEBOX.local/provider/files/main'] }],
  ['two SAN extensions', { names: [rawNames(uri(id)), rawNames(uri('spiffe://glovebox.local/signer'))] }],
  [
    'a CA certificate as leaf',
    { uris: [id], ca: true, keyUsage: x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyCertSign },
  ],
  [
    'a leaf that may sign certificates',
    { uris: [id], keyUsage: x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyCertSign },
  ],
  ['a leaf that is not for signing', { uris: [id], keyUsage: x509.KeyUsageFlags.keyAgreement }],
];

describe('a server', () => {
  it('[R2] knows a good peer by its URI name', async () => {
    const port = await listen(serverTlsOptions(serverSource));
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toBe(`peer ${id}`);
    // An additional DNS name changes nothing.
    expect(await ask(port, asClient(await authority.mint({ uris: [id], dns: ['localhost'] })))).toBe(
      `peer ${id}`,
    );
  });

  it.each(badByChain)('[R2] [R12] refuses %s in the handshake', async (_, mint) => {
    const port = await listen(serverTlsOptions(serverSource));
    expect(await ask(port, asClient(await mint()))).toMatch(/^closed/);
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toBe(`peer ${id}`);
  });

  it.each(badByChain)('[R2] [R20] refuses %s by itself where TLS only asks', async (_, mint) => {
    const port = await listen(serverTlsOptions(serverSource, 'requested'));
    expect(await ask(port, asClient(await mint()))).toMatch(/^refused: /);
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toBe(`peer ${id}`);
  });

  it.each(badByName)('[R2] refuses %s', async (_, wanted) => {
    const port = await listen(serverTlsOptions(serverSource));
    expect(await ask(port, asClient(await authority.mint(wanted)))).toMatch(/^refused: |^closed/);
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toBe(`peer ${id}`);
  });

  it('[R12] refuses TLS 1.2, and speaks 1.3 with the same client', async () => {
    const port = await listen(serverTlsOptions(serverSource));
    const client = asClient(await authority.mint({ uris: [id] }));
    expect(await ask(port, { ...client, maxVersion: 'TLSv1.2' })).toMatch(/^closed: .*(version|alert)/i);
    expect(await ask(port, { ...client, maxVersion: 'TLSv1.3' })).toBe(`peer ${id}`);
  });

  it('[R2] peerIdentity does not take TLS 1.2 where a server lets it in', async () => {
    const port = await listen({
      ...serverTlsOptions(serverSource),
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    });
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toMatch(/^refused: .*TLS 1\.3/);
  });

  it('[R2] a peer without a certificate is anonymous, one with a bad certificate is an error', async () => {
    const server = createServer(serverTlsOptions(serverSource, 'requested'), (socket) => {
      socket.on('error', () => undefined);
      try {
        socket.end(peerCaller(socket, rule).kind);
      } catch (error) {
        socket.end(String(error));
      }
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await ask(port, asClient(undefined))).toBe('anonymous');
    expect(await ask(port, asClient(await authority.mint({ uris: [id] })))).toBe('workload');
    expect(await ask(port, asClient(await foreign.mint({ uris: [id] })))).toContain('GB_IDENTITY_REFUSED');
  });

  it('[R4] does not resume a session, which would skip the certificate', async () => {
    const resumed = async (options: TlsOptions): Promise<boolean[]> => {
      const server = createServer(options, (socket) => {
        socket.on('error', () => undefined);
        socket.end(String(socket.isSessionReused()));
      });
      servers.push(server);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const client = asClient(await authority.mint({ uris: [id] }));
      const { port } = server.address() as AddressInfo;
      const first = connect({ host: '127.0.0.1', port, ...client });
      first.resume();
      const [[session]] = (await Promise.all([once(first, 'session'), once(first, 'close')])) as [
        [Buffer],
        unknown,
      ];
      return [(await ask(port, { ...client, session })) === 'true'];
    };
    expect(await resumed(serverTlsOptions(serverSource))).toEqual([false]);
    expect(await resumed({ ...serverTlsOptions(serverSource), secureOptions: 0 })).toEqual([true]);
  });
});

describe('a client', () => {
  const expected = (peer: Identity): boolean => peer.kind === 'control-plane';
  const try_ = async (server: Minted): Promise<string> => {
    const port = await listen({
      ...serverTlsOptions(serverSource),
      key: server.keyPem,
      cert: server.chainPem,
    });
    return ask(port, clientTlsOptions(fixedSource(await authority.mint({ uris: [id] })), expected));
  };

  it('[R2] takes the server that it expects, at whatever address', async () => {
    expect(await try_(await authority.mint({ uris: [serverId] }))).toBe(`peer ${id}`);
  });

  const impostors: readonly [string, () => Promise<Minted>][] = [
    [
      'another identity, with a matching DNS name',
      () =>
        authority.mint({ uris: ['spiffe://glovebox.local/provider/x/y'], dns: ['localhost', '127.0.0.1'] }),
    ],
    ['another trust domain', () => authority.mint({ uris: ['spiffe://other.local/control-plane/main'] })],
    ['a DNS name only', () => authority.mint({ dns: ['localhost'] })],
    ['two URI names', () => authority.mint({ uris: [serverId, id] })],
    [
      'a certificate for clients only',
      () => authority.mint({ uris: [serverId], usages: [x509.ExtendedKeyUsage.clientAuth] }),
    ],
    ['a foreign CA', () => foreign.mint({ uris: [serverId] })],
    [
      'an expired one',
      () =>
        authority.mint({
          uris: [serverId],
          notBefore: new Date(Date.now() - hour),
          notAfter: new Date(Date.now() - 1000),
        }),
    ],
  ];
  it.each(impostors)('[R2] refuses a server with %s', async (_, mint) => {
    expect(await try_(await mint())).toMatch(/^closed/);
    expect(await try_(await authority.mint({ uris: [serverId] }))).toBe(`peer ${id}`);
  });
});
