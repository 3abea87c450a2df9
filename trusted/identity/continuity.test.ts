import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultTrustDomain, type WorkloadCaller } from '../../pure/contracts/index.ts';
import { ConnectionRegistry, peerIdentity, renewalStatement, renewedPeer } from './index.ts';
import { fixedSource, TestAuthority, TestClock, type Minted } from './testing.ts';
import { clientTlsOptions, serverTlsOptions } from './tls.ts';

const id = 'spiffe://glovebox.local/provider/files/main';
let authority: TestAuthority;
let server: Server;
let clock: TestClock;
const open: TLSSocket[] = [];

interface Pair {
  readonly client: TLSSocket;
  readonly socket: TLSSocket;
  readonly caller: WorkloadCaller;
}

beforeEach(async () => {
  authority = await TestAuthority.create();
  clock = new TestClock();
  const own = await authority.source('spiffe://glovebox.local/control-plane/local');
  server = createServer(serverTlsOptions(own));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
  server.close();
});

async function pair(): Promise<Pair> {
  const first = await authority.mint({ uris: [id] });
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const client = connect({ port, host: '127.0.0.1', ...clientTlsOptions(fixedSource(first), () => true) });
  const [[socket]] = await Promise.all([accepted, once(client, 'secureConnect')]);
  open.push(client, socket);
  for (const one of [client, socket]) one.on('error', () => undefined);
  const peer = peerIdentity(socket, { trustDomain: defaultTrustDomain, role: 'client', now: Date.now });
  if (!peer.ok) throw new Error(peer.reason);
  return { client, socket, caller: peer.value };
}

const leafOf = (minted: Minted): X509Certificate => new X509Certificate(minted.chainPem);
const signed = (by: Minted, socket: TLSSocket, leaf: X509Certificate): Buffer =>
  sign('sha256', renewalStatement(socket, leaf), createPrivateKey(by.keyPem));

describe('the proof of a renewed certificate on an open connection', () => {
  it('[R4] holds when the new key signs what this connection alone has', async () => {
    const { client, socket, caller } = await pair();
    const next = await authority.mint({ uris: [id] });
    const leaf = leafOf(next);
    const renewed = renewedPeer(socket, caller, leaf, signed(next, client, leaf));
    expect(renewed).toMatchObject({ ok: true, value: { identity: { id } } });
    expect(renewed.ok && renewed.value.serial).not.toBe(caller.serial);
  });

  it('[R4] does not hold by another key, on another connection, or for another certificate or identity', async () => {
    const [{ client, socket, caller }, elsewhere] = [await pair(), await pair()];
    const [next, other] = [await authority.mint({ uris: [id] }), await authority.mint({ uris: [id] })];
    const leaf = leafOf(next);
    const stranger = await authority.mint({ uris: ['spiffe://glovebox.local/provider/graph/main'] });
    const good = signed(next, client, leaf);
    const attempts: readonly [string, X509Certificate, Buffer][] = [
      ['another key', leaf, signed(other, client, leaf)],
      ['a signature taken from another connection', leaf, signed(next, elsewhere.client, leaf)],
      ['a signature for another certificate', leafOf(other), good],
      ['another identity', leafOf(stranger), signed(stranger, client, leafOf(stranger))],
      ['no signature', leaf, Buffer.alloc(0)],
      [
        'a signature with a changed bit',
        leaf,
        Buffer.from(good.map((byte, at) => (at === 12 ? byte ^ 1 : byte))),
      ],
    ];
    for (const [what, certificate, signature] of attempts)
      expect(renewedPeer(socket, caller, certificate, signature).ok, what).toBe(false);
    expect(renewedPeer(socket, caller, leaf, good).ok).toBe(true);
  });

  it('[R4] the connection goes on under the renewed certificate: its end, and its revocation', async () => {
    const registry = new ConnectionRegistry(clock);
    const { client, socket, caller } = await pair();
    registry.admit(caller, socket);
    const next = await authority.mint({ uris: [id], notAfter: new Date(clock.now() + 900_000) });
    const leaf = leafOf(next);
    const renewed = renewedPeer(socket, caller, leaf, signed(next, client, leaf));
    if (!renewed.ok) throw new Error(renewed.reason);
    expect(registry.admit(renewed.value, socket)).toBe(true);
    expect(registry.count(caller.identity.id)).toBe(1);
    registry.revoke([caller.serial]);
    clock.advanceTo(caller.notAfter.getTime() + 1000);
    expect(socket.destroyed).toBe(false);
    registry.revoke([renewed.value.serial]);
    expect(socket.destroyed).toBe(true);
    await once(socket, 'close');
    expect(registry.count(caller.identity.id)).toBe(0);
    expect(clock.next).toBeUndefined();
  });
});
