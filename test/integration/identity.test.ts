import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  asSessionId,
  defaultTrustDomain,
  encodeId,
  type GloveboxError,
  spiffeId,
  type SpiffeId,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import {
  clientTlsOptions,
  ConnectionRegistry,
  IdentityAgent,
  IdentityAuthority,
  MemoryIdentityStore,
  newKeyRequest,
  peerIdentity,
  rotateServer,
  serverTlsOptions,
  SvidSource,
  systemClock,
} from '../../trusted/identity/index.ts';
import { TestClock } from '../../trusted/identity/testing.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';

const controlPlane = spiffeId(defaultTrustDomain, { kind: 'control-plane', replica: 'main' });
const sidecar = spiffeId(defaultTrustDomain, {
  kind: 'sidecar',
  session: asSessionId(encodeId(new Uint8Array(16))),
});
const rule = { trustDomain: defaultTrustDomain, role: 'client', now: Date.now } as const;

let test: TestSigner;
let authority: IdentityAuthority;
const closers: (() => void)[] = [];
beforeAll(async () => {
  test = await startTestSigner();
});
afterAll(() => test.close());
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

const newAuthority = (): IdentityAuthority =>
  new IdentityAuthority({ signer: test.signer, store: new MemoryIdentityStore(), now: Date.now });

async function ownSource(id: SpiffeId, clock = systemClock): Promise<SvidSource> {
  const issue = (csrPem: string): ReturnType<IdentityAuthority['issueOwn']> => authority.issueOwn(id, csrPem);
  const source = await SvidSource.start({ issue, renew: issue, expectedId: id, clock });
  closers.push(() => source.close());
  return source;
}

async function joined(id: SpiffeId): Promise<SvidSource> {
  const token = await authority.createJoinToken(id);
  const source = await SvidSource.start({
    issue: (csrPem) => authority.join(token, csrPem),
    renew: () => Promise.reject(new Error('not in this test')),
    expectedId: id,
  });
  closers.push(() => source.close());
  return source;
}

async function listen(
  source: SvidSource,
  registry?: ConnectionRegistry,
): Promise<{ server: Server; port: number }> {
  const server = createServer(serverTlsOptions(source), (incoming, response) => {
    const peer = peerIdentity(incoming.socket as TLSSocket, rule);
    response.end(peer.ok ? peer.value.identity.id : peer.reason);
  });
  server.on('secureConnection', (socket) => {
    const peer = peerIdentity(socket, rule);
    if (peer.ok) registry?.admit(peer.value, socket);
    else socket.destroy();
  });
  closers.push(
    rotateServer(server, source),
    () => server.close(),
    () => server.closeAllConnections(),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function get(port: number, agent: IdentityAgent): Promise<{ text: string; serverSerial: string }> {
  const outgoing = request({ host: '127.0.0.1', port, agent });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const serverSerial = (response.socket as TLSSocket).getPeerCertificate().serialNumber.toLowerCase();
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { text, serverSerial };
}

describe('identity with the real signer', () => {
  it('[R1] [R2] a joined sidecar and the control plane know each other', async () => {
    authority = newAuthority();
    const { port } = await listen(await ownSource(controlPlane));
    const client = await joined(sidecar);
    const answer = await get(port, new IdentityAgent(client, (peer) => peer.id === controlPlane));
    expect(answer.text).toBe(sidecar);
    await expect(get(port, new IdentityAgent(client, (peer) => peer.kind === 'bus'))).rejects.toThrow(
      'not expected',
    );
  });

  it('[R6] of 100 processes that race with one join token exactly one gets a certificate', async () => {
    authority = newAuthority();
    const token = await authority.createJoinToken(sidecar);
    const { csrPem } = await newKeyRequest();
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => authority.join(token, csrPem)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = results.flatMap((one) =>
      one.status === 'rejected' ? [(one.reason as GloveboxError).code] : [],
    );
    expect(new Set(codes)).toEqual(new Set(['GB_TOKEN_REPLAYED']));
  });

  it('[R4] a server takes its renewed certificate without closing a connection or failing a call', async () => {
    authority = newAuthority();
    const clock = new TestClock();
    const source = await ownSource(controlPlane, clock);
    const { port } = await listen(source);
    const client = await joined(sidecar);
    const expected = (): boolean => true;
    const open = connect({ host: '127.0.0.1', port, ...clientTlsOptions(client, expected) });
    await once(open, 'secureConnect');
    const before = await get(port, new IdentityAgent(client, expected));
    expect(before.serverSerial).toBe(source.current().serial);
    const rotated = new Promise((resolve) => source.onRotate(resolve));
    clock.advanceTo(clock.next!);
    await rotated;
    const after = await get(port, new IdentityAgent(client, expected));
    expect(after.serverSerial).toBe(source.current().serial);
    expect(after.serverSerial).not.toBe(before.serverSerial);
    open.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const [bytes] = (await once(open, 'data')) as [Buffer];
    expect(bytes.toString()).toContain('200 OK');
    open.destroy();
  });

  it('[R4] a client’s kept connection is not used again once its certificate was renewed', async () => {
    authority = newAuthority();
    const { server, port } = await listen(await ownSource(controlPlane));
    const serials: string[] = [];
    server.on('secureConnection', (socket) => {
      const peer = peerIdentity(socket, rule);
      if (peer.ok) serials.push(peer.value.serial);
    });
    const clock = new TestClock();
    const client = await ownSource(sidecar, clock);
    const agent = new IdentityAgent(client, () => true, { keepAlive: true });
    closers.push(() => agent.destroy());
    const first = client.current().serial;
    await get(port, agent);
    await get(port, agent);
    expect(serials).toEqual([first]);
    const rotated = new Promise((resolve) => client.onRotate(resolve));
    clock.advanceTo(clock.next!);
    await rotated;
    await get(port, agent);
    expect(serials).toEqual([first, client.current().serial]);
  });

  it('[R4] a revoked identity loses its open connections and gets no new one; another keeps its own', async () => {
    authority = newAuthority();
    const registry = new ConnectionRegistry(systemClock);
    authority.onRevoked((serials) => registry.revoke(serials));
    const { port } = await listen(await ownSource(controlPlane), registry);
    const other = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
    const [bad, good] = [await joined(sidecar), await joined(other)];
    const dial = async (source: SvidSource): Promise<TLSSocket> => {
      const socket = connect({ host: '127.0.0.1', port, ...clientTlsOptions(source, () => true) });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      return socket;
    };
    const [badSocket, goodSocket] = [await dial(bad), await dial(good)];
    // The server has taken both in once it answered them.
    for (const socket of [badSocket, goodSocket]) {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await once(socket, 'data');
    }
    const ended = once(badSocket, 'close');
    await authority.revoke(sidecar);
    await ended;
    await expect(get(port, new IdentityAgent(bad, () => true))).rejects.toThrow();
    goodSocket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await once(goodSocket, 'data'))[0])).toContain('200 OK');
    goodSocket.destroy();
  });

  it('[R4] a stolen certificate renews once at most: the second of thief and owner ends both', async () => {
    authority = newAuthority();
    const registry = new ConnectionRegistry(systemClock);
    authority.onRevoked((serials) => registry.revoke(serials));
    const { server, port } = await listen(await ownSource(controlPlane), registry);
    const callers: WorkloadCaller[] = [];
    server.on('secureConnection', (socket) => {
      const peer = peerIdentity(socket, rule);
      if (peer.ok) callers.push(peer.value);
    });
    const owner = await joined(sidecar);
    await get(port, new IdentityAgent(owner, () => true));
    const caller = callers[0]!;
    const renewWithNewKey = async (): Promise<string> =>
      (
        await SvidSource.start({
          issue: (csrPem) => authority.renew(caller, csrPem),
          renew: () => Promise.reject(new Error('not in this test')),
        })
      ).current().serial;
    const thief = await renewWithNewKey();
    await expect(renewWithNewKey()).rejects.toThrow('GB_IDENTITY_REVOKED');
    expect(registry.isRevoked(thief)).toBe(true);
    await expect(get(port, new IdentityAgent(owner, () => true))).rejects.toThrow();
  });
});
