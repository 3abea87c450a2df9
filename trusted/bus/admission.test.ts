import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { connect, nkeyAuthenticator, type NatsConnection } from '@nats-io/transport-node';
import { createUser } from '@nats-io/jwt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  defaultTrustDomain,
  eventsSubject,
  spiffeId,
  type SandboxId,
  type SessionId,
  type Workload,
} from '../../pure/contracts/index.ts';
import { BusConnection, busOperators, type Svid } from './index.ts';
import {
  createTestCa,
  disconnected,
  identityFor,
  newSessionId,
  startTestBus,
  type TestBus,
} from './testing.ts';

let bus: TestBus;
beforeAll(async () => {
  bus = await startTestBus();
});
afterAll(() => bus.close());

const open: NatsConnection[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close()));
});

/** What a client of its own making may say, past everything that BusConnection does. */
async function rawConnect(
  svid: Svid | undefined,
  say: Record<string, unknown> = {},
): Promise<NatsConnection> {
  const tls = {
    handshakeFirst: true,
    checkServerIdentity: () => undefined,
    ca: bus.ca.certificatePem,
    ...(svid === undefined ? {} : { key: svid.keyPem, cert: svid.chainPem }),
  };
  const connection = await connect({
    servers: `${bus.server.host}:${bus.server.port}`,
    tls,
    reconnect: false,
    timeout: 7000,
    ...say,
  });
  open.push(connection);
  await connection.flush();
  return connection;
}

const sidecar = (): { readonly kind: 'sidecar'; readonly session: SessionId } => ({
  kind: 'sidecar',
  session: newSessionId(),
});

describe('[R12] who is not let in', () => {
  it('control: a sidecar with its certificate and nothing else is', async () => {
    const svid = await bus.ca.issue(sidecar());
    expect((await rawConnect(svid)).isClosed()).toBe(false);
  });

  it('a plaintext client: it gets no byte of the protocol', async () => {
    const socket = connectTcp(bus.server.port, bus.server.host);
    await once(socket, 'connect');
    const got: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => got.push(chunk));
    socket.on('error', () => undefined);
    socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
    await once(socket, 'close');
    expect(Buffer.concat(got).toString('latin1')).not.toMatch(/INFO|PONG|nats/i);
  });

  it('TLS 1.2', async () => {
    const { keyPem: key, chainPem: cert, bundlePem: ca } = await bus.ca.issue(sidecar());
    const socket = connectTls({
      host: bus.server.host,
      port: bus.server.port,
      key,
      cert,
      ca,
      maxVersion: 'TLSv1.2',
      checkServerIdentity: () => undefined,
    });
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error.message).toMatch(/version|protocol/i);
  });

  it('a client without a certificate: anonymous, with a token, with a password', async () => {
    for (const say of [{}, { token: 't' }, { user: 'u', pass: 'p' }]) {
      await expect(rawConnect(undefined, say)).rejects.toThrow();
    }
  });

  it('a token, a password, a user name or a key beside a good certificate', async () => {
    const svid = await bus.ca.issue(sidecar());
    const stranger = createUser();
    for (const say of [
      { token: 't' },
      { user: 'u', pass: 'p' },
      { user: 'u' },
      { authenticator: nkeyAuthenticator(stranger.getSeed()) },
    ]) {
      await expect(rawConnect(svid, say)).rejects.toThrow();
    }
  });

  it('the name of the callout’s or the system’s user beside another certificate', async () => {
    for (const operator of [busOperators.callout, busOperators.system]) {
      const user = spiffeId(defaultTrustDomain, operator);
      const svid = await bus.ca.issue(sidecar());
      for (const say of [{ user }, { user, pass: '' }, { user, pass: user }, { token: user }])
        await expect(rawConnect(svid, say)).rejects.toThrow();
    }
  });

  it('a certificate of a foreign CA with the same names', async () => {
    const foreign = await createTestCa();
    await expect(
      rawConnect(await foreign.issue({ kind: 'control-plane', replica: 'main' })),
    ).rejects.toThrow();
  });

  it('a certificate that has expired, or is not valid yet', async () => {
    await expect(rawConnect(await bus.ca.issue(sidecar(), { lifetimeMs: -1000 }))).rejects.toThrow();
    const notBefore = new Date(Date.now() + 60_000);
    await expect(rawConnect(await bus.ca.issue(sidecar(), { notBefore }))).rejects.toThrow();
  });

  it('an identity without business on the bus, of another trust domain, or none at all', async () => {
    const sandbox: Workload = {
      kind: 'sandbox',
      session: newSessionId(),
      sandbox: newSessionId() as string as SandboxId,
    };
    for (const workload of [sandbox, { kind: 'signer' }, { kind: 'bus', server: 'x' }] satisfies Workload[]) {
      await expect(rawConnect(await bus.ca.issue(workload)), workload.kind).rejects.toThrow();
    }
    const id = spiffeId(defaultTrustDomain, sidecar());
    for (const names of [
      [{ type: 'url', value: id.replace('glovebox.local', 'other.local') }],
      [{ type: 'url', value: `${id}/more` }],
      [
        { type: 'url', value: id },
        { type: 'url', value: spiffeId(defaultTrustDomain, { kind: 'control-plane', replica: 'main' }) },
      ],
      [{ type: 'dns', value: id }],
      [{ type: 'dns', value: 'localhost' }],
      [{ type: 'url', value: id.toUpperCase() }],
    ] as const) {
      await expect(rawConnect(await bus.ca.issue(sidecar(), { names: [...names] }))).rejects.toThrow();
    }
    const control = [
      { type: 'url', value: id },
      { type: 'dns', value: 'localhost' },
    ] as const;
    await rawConnect(await bus.ca.issue(sidecar(), { names: [...control] }));
  });

  it('anybody, while the callout is down', async () => {
    const other = await startTestBus({ authorizer: {} });
    try {
      const inside = sidecar();
      const connection = await other.connect(inside);
      await other.callout.close();
      await expect(other.connect(sidecar())).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
      // Who is in stays in: its permission ends with its certificate.
      await connection.publish(eventsSubject(inside.session), 'x');
    } finally {
      await other.close();
    }
  });

  it('anybody, while the decision fails', async () => {
    const other = await startTestBus({
      authorizer: { isRevoked: () => Promise.reject(new Error('the store is down')) },
    });
    try {
      await expect(other.connect(sidecar())).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
      expect(other.decisions.at(-1)).toMatchObject({ allowed: false, reason: 'the store is down' });
    } finally {
      await other.close();
    }
  });
});

describe('the server', () => {
  it('[R12] is refused by its clients unless it is a bus of the trust domain', async () => {
    for (const workload of [
      { kind: 'provider', domain: 'graph', name: 'one' },
      { kind: 'control-plane', replica: 'main' },
    ] satisfies Workload[]) {
      await bus.server.rotate(await bus.ca.issue(workload));
      await expect(bus.connect(sidecar())).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
    }
    await bus.server.rotate(await bus.ca.issue({ kind: 'bus', server: 'test' }));
    await bus.connect(sidecar());
  });
});

describe('the end of a permission', () => {
  it('[R4] a revoked identity loses its open connections at once and does not come back', async () => {
    const [victim, other] = [sidecar(), sidecar()];
    const [mine, theirs] = [await bus.connect(victim), await bus.connect(other)];
    const second = await bus.connect(victim);
    for (const decision of bus.decisions) {
      if (decision.allowed && decision.certificate.identity.id === mine.identity.id) {
        bus.revoked.add(decision.certificate.serial);
      }
    }
    const ends = [mine, second].map(disconnected);
    const refused = bus.decisions.length;
    expect(await bus.callout.kick(mine.identity.id)).toBe(2);
    await Promise.all(ends);
    await expect.poll(() => bus.decisions.length).toBeGreaterThan(refused + 3);
    for (const decision of bus.decisions.slice(refused)) {
      expect(decision).toEqual({ allowed: false, reason: 'revoked' });
    }
    await Promise.all([mine.abort(), second.abort()]);
    await theirs.publish(eventsSubject(other.session), 'x');
    expect(await bus.callout.kick(identityFor(sidecar()).id)).toBe(0);
  });

  it('[R4] a connection ends with its certificate', async () => {
    const connection = await bus.connect(sidecar(), { lifetimeMs: 2500 });
    expect((await connection.lost).code).toBe('GB_BUS_UNAVAILABLE');
  });
});

it('a second connection of the same identity gets the same permissions', async () => {
  const workload = sidecar();
  const svid = await bus.ca.issue(workload);
  const options = { address: bus.server, svid, identity: identityFor(workload) };
  const pair = await Promise.all([BusConnection.connect(options), BusConnection.connect(options)]);
  for (const connection of pair) {
    await connection.publish(eventsSubject(workload.session), 'x');
    await connection.close();
  }
});
