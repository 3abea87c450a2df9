import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CompactEncrypt, importJWK } from 'jose';
import {
  asSandboxId,
  asSessionId,
  auditSubject,
  eventsSubject,
  GloveboxError,
  sealing,
  secretRoutes,
  sessionOf,
  spiffeId,
  workloadRoutes,
  type AuditRecord,
  type SessionId,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { BusConnection, publishIntent } from '../../trusted/bus/index.ts';
import { disconnected, natsServerPath } from '../../trusted/bus/testing.ts';
import { layGround, trustDomain, type Ground } from '../../trusted/control-plane/ground.ts';
import { createLog } from '../../trusted/control-plane/log.ts';
import { programsBeside } from '../../trusted/control-plane/programs.ts';
import { SecretKeeper } from '../../trusted/control-plane/secret-keeper.ts';
import {
  checkedSvid,
  clientTlsOptions,
  newKeyRequest,
  type SvidMaterial,
  type SvidSource,
} from '../../trusted/identity/index.ts';
import {
  joinWorkload,
  RouteClient,
  type RouteAddress,
  type RouteServer,
} from '../../trusted/workload-http/index.ts';
import { build } from '../../tools/build.mjs';
import { dist } from '../../tools/setup/paths.mjs';
import { newId } from './sidecar-world.ts';

/** The control plane without sandboxes: real signer, store, bus, workload API and secret broker, over one state folder. */
const secretLog: string[] = [];
class Plane {
  readonly ground: Ground;
  readonly api: RouteServer;
  readonly secrets: SecretKeeper;
  readonly #undo: (() => unknown)[];

  private constructor(ground: Ground, api: RouteServer, secrets: SecretKeeper, undo: (() => unknown)[]) {
    this.ground = ground;
    this.api = api;
    this.secrets = secrets;
    this.#undo = undo;
  }

  static async start(state: string, certificateSeconds?: number): Promise<Plane> {
    const undo: (() => unknown)[] = [];
    for (const path of [state, join(state, 'jail')]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const programs = programsBeside(pathToFileURL(join(dist, 'control-plane.js')).href);
    const log = createLog();
    log.level = 'silent';
    const ground = await layGround(
      {
        socket: '',
        state,
        programs,
        natsServer: natsServerPath,
        log,
        ...(certificateSeconds === undefined ? {} : { certificateSeconds }),
      },
      undo,
    );
    const unused = (): Promise<never> => Promise.reject(new Error('not in this test'));
    const svidOf = (issued: { chainPem: string; bundlePem: string; notAfter: Date }) => ({
      ...issued,
      notAfter: issued.notAfter.toISOString(),
    });
    const api = await ground.serveWorkloads({
      join: async ({ body }) => svidOf(await ground.authority.join(body.token, body.csr)),
      renew: async ({ caller, body }) => svidOf(await ground.authority.renew(caller, body.csr)),
      joinSandbox: async ({ caller, body }) =>
        svidOf(await ground.authority.joinSandbox(ownSession(caller), body.token, body.csr)),
      renewSandbox: unused,
      getSandboxPolicy: async () => ({ generation: 1, document: {} }),
      getSandboxProviderEnvironment: unused,
      reportPolicyStatus: unused,
      requestConsent: unused,
      consumeConsent: unused,
      cancelConsent: unused,
      useGrant: unused,
      secretBindings: async () => ({ secrets: ['one'], uses: [] }),
    });
    const secrets = await SecretKeeper.start({
      entry: programs.secretBroker,
      folder: ground.folder.secrets,
      trustDomain,
      authority: ground.authority,
      identity: ground.identity,
      workloadApi: { host: api.host, port: api.port },
      bus: { host: ground.bus.host, port: ground.bus.port },
      onRefused: () => undefined,
      onAsked: () => undefined,
      log: (message) => secretLog.push(message),
    });
    undo.push(async () => await secrets.stop());
    return new Plane(ground, api, secrets, undo);
  }

  get bus(): RouteAddress {
    return { host: this.ground.bus.host, port: this.ground.bus.port };
  }

  async join(session: SessionId): Promise<SvidSource> {
    const expectedId = spiffeId(trustDomain, { kind: 'sidecar', session });
    return await joinWorkload({
      workloadApi: this.api,
      joinToken: await this.ground.authority.createJoinToken(expectedId),
      bundlePem: this.ground.identity.current().bundlePem,
      trustDomain,
      expectedId,
    });
  }

  async close(): Promise<void> {
    for (const step of this.#undo.splice(0).reverse()) await step();
  }
}

/** What a sidecar holds open, by one certificate. */
interface Held {
  readonly api: TLSSocket;
  readonly broker: TLSSocket;
  readonly bus: BusConnection;
}

const fixed = (svid: SvidMaterial) => ({ current: () => svid, onRotate: () => () => undefined });
const ask = 'POST /v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n';

async function openSocket({ host, port }: RouteAddress, svid: SvidMaterial): Promise<TLSSocket> {
  const socket = connect({ host, port, ...clientTlsOptions(fixed(svid), () => true) });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close').then(() => {
    throw new Error('closed');
  });
  closed.catch(() => undefined);
  await Promise.race([once(socket, 'secureConnect'), closed]);
  socket.write(ask);
  await Promise.race([once(socket, 'data'), closed]);
  return socket;
}

const openBus = (plane: Plane, svid: SvidMaterial): Promise<BusConnection> =>
  BusConnection.connect({ address: plane.bus, svid, identity: svid.identity });

async function hold(plane: Plane, svid: SvidMaterial): Promise<Held> {
  const [api, broker, bus] = [
    await openSocket(plane.api, svid),
    await openSocket(plane.secrets.address, svid),
    await openBus(plane, svid),
  ];
  return { api, broker, bus };
}

async function isAlive({ api, broker, bus }: Held): Promise<void> {
  for (const socket of [api, broker]) {
    socket.write(ask);
    expect(String((await once(socket, 'data'))[0])).toContain('HTTP/1.1');
  }
  await bus.publish(eventsSubject(sessionOf(bus.identity) as SessionId), 'x');
}

async function isRefused(plane: Plane, svid: SvidMaterial): Promise<void> {
  await expect(openSocket(plane.api, svid)).rejects.toThrow();
  await expect(openSocket(plane.secrets.address, svid)).rejects.toThrow();
  await expect(openBus(plane, svid)).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
}

const folder = mkdtempSync(join(tmpdir(), 'glovebox-revocation-'));
beforeAll(async () => {
  await build();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function ownSession(caller: WorkloadCaller): SessionId {
  const session = sessionOf(caller.identity);
  if (session === undefined) throw new Error('a caller without a session');
  return session;
}

describe('the end of an identity', () => {
  const state = join(folder, 'state');
  let plane: Plane;
  const victim = asSessionId(newId());
  const other = asSessionId(newId());
  let svids: { victim: SvidMaterial; other: SvidMaterial };
  beforeAll(async () => {
    plane = await Plane.start(state);
    svids = { victim: (await plane.join(victim)).current(), other: (await plane.join(other)).current() };
  });
  afterAll(async () => await plane.close());

  it('[R4] a revoked sidecar loses its connections to API, bus and broker within a second; another keeps its own', async () => {
    const [held, kept] = [await hold(plane, svids.victim), await hold(plane, svids.other)];
    const ends = Promise.all([
      ...[held.api, held.broker].map((socket) => once(socket, 'close')),
      disconnected(held.bus),
    ]);
    const second = new Promise((_, reject) =>
      setTimeout(() => reject(new Error('more than a second')), 1000).unref(),
    );
    await plane.ground.revoke(spiffeId(trustDomain, { kind: 'sidecar', session: victim }));
    await Promise.race([ends, second]);
    await isAlive(kept);
    await isRefused(plane, svids.victim);
    for (const socket of [kept.api, kept.broker]) socket.destroy();
    await kept.bus.close();
  });

  it('[R4] a broker that had to be started again knows who was revoked before', async () => {
    const before = plane.secrets.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await expect.poll(() => plane.secrets.pid).not.toBe(before);
    await expect(openSocket(plane.secrets.address, svids.victim)).rejects.toThrow();
    (await openSocket(plane.secrets.address, svids.other)).destroy();
  });

  it('[R6] of 100 that race with one join token one gets a certificate; it is refused after a restart too', async () => {
    const id = spiffeId(trustDomain, { kind: 'sidecar', session: asSessionId(newId()) });
    const token = await plane.ground.authority.createJoinToken(id);
    const { csrPem: csr } = await newKeyRequest();
    const join = async (): Promise<string> => {
      const { bundlePem } = plane.ground.identity.current();
      const client = RouteClient.anonymous(
        workloadRoutes,
        () => plane.api,
        bundlePem,
        trustDomain,
        'control-plane',
      );
      try {
        await client.call('join', { body: { token, csr } });
        return 'joined';
      } catch (error) {
        return error instanceof GloveboxError ? error.code : String(error);
      } finally {
        client.close();
      }
    };
    const codes = await Promise.all(Array.from({ length: 100 }, join));
    expect(codes.filter((code) => code === 'joined')).toHaveLength(1);
    expect(codes.filter((code) => code === 'GB_TOKEN_REPLAYED')).toHaveLength(99);
    await plane.close();
    plane = await Plane.start(state);
    expect(await join()).toBe('GB_TOKEN_REPLAYED');
  });

  it('[R2] [R3] a sandbox’s certificate opens no route of the API, nothing of the broker, and no bus', async () => {
    const [session, sandbox] = [asSessionId(newId()), asSandboxId(newId())];
    const id = spiffeId(trustDomain, { kind: 'sandbox', session, sandbox });
    const sidecar = await plane.join(session);
    const { keyPem, csrPem } = await newKeyRequest();
    // As in the product: through the session's own sidecar.
    const api = RouteClient.withIdentity(workloadRoutes, () => plane.api, sidecar, 'control-plane');
    const token = await plane.ground.authority.createJoinToken(id);
    const answer = await api.call('joinSandbox', { params: { session }, body: { token, csr: csrPem } });
    const svid = checkedSvid(keyPem, answer, id);
    // The client of ours does not even try; one that passes itself off as the sidecar is refused by the server.
    const dressed = { address: plane.bus, svid, identity: sidecar.current().identity };
    await expect(openBus(plane, svid)).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
    await expect(BusConnection.connect(dressed)).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
    const as = (own: SvidMaterial) => ({
      api: RouteClient.withIdentity(workloadRoutes, () => plane.api, fixed(own), 'control-plane'),
      broker: RouteClient.withIdentity(
        secretRoutes,
        () => plane.secrets.address,
        fixed(own),
        'secret-broker',
      ),
    });
    const [mine, control] = [as(svid), as(sidecar.current())];
    const refused = { code: 'GB_CALLER_REFUSED' };
    for (const own of [session, victim])
      await expect(mine.api.call('getSandboxPolicy', { params: { session: own } })).rejects.toMatchObject(
        refused,
      );
    await expect(mine.api.call('renew', { body: { csr: csrPem } })).rejects.toMatchObject(refused);
    await expect(mine.api.call('join', { body: { token, csr: csrPem } })).rejects.toMatchObject(refused);
    await expect(
      mine.broker.call('readSecret', { body: { secret: 'one', intentSeq: 1 } }),
    ).rejects.toMatchObject(refused);
    // Control: the sidecar of the same session.
    await control.api.call('getSandboxPolicy', { params: { session } });
    await (await openBus(plane, sidecar.current())).close();
    for (const client of [api, mine.api, mine.broker, control.api, control.broker]) client.close();
    sidecar.close();
  });

  it('[R4] a revocation outlives the control plane; who was not revoked gets in again', async () => {
    await isRefused(plane, svids.victim);
    const held = await hold(plane, svids.other);
    await isAlive(held);
    for (const socket of [held.api, held.broker]) socket.destroy();
    await held.bus.close();
  });
});

describe('a value leaves the secret broker for one stored intent', () => {
  let plane: Plane;
  const session = asSessionId(newId());
  const stranger = asSessionId(newId());
  let source: SvidSource;
  let bus: BusConnection;
  let strangers: BusConnection;
  let broker: RouteClient<typeof secretRoutes>;
  beforeAll(async () => {
    plane = await Plane.start(join(folder, 'secrets'));
    source = await plane.join(session);
    bus = await openBus(plane, source.current());
    strangers = await openBus(plane, (await plane.join(stranger)).current());
    broker = RouteClient.withIdentity(secretRoutes, () => plane.secrets.address, source, 'secret-broker');
    const { jwk } = await plane.secrets.sealingKey();
    for (const name of ['one', 'two']) {
      const content = new TextEncoder().encode(JSON.stringify({ name, value: `value of ${name}` }));
      const sealed = await new CompactEncrypt(content)
        .setProtectedHeader({ ...sealing, kid: String(jwk['kid']) })
        .encrypt(await importJWK(jwk, sealing.alg));
      await plane.secrets.put(name, sealed);
    }
  });
  afterAll(async () => {
    broker.close();
    source.close();
    await Promise.all([bus.close(), strangers.close()]);
    await plane.close();
  });

  async function intent(
    of: SessionId,
    by: BusConnection,
    change: Partial<AuditRecord> = {},
  ): Promise<number> {
    const record: AuditRecord = {
      version: 1,
      id: newId(),
      session: of,
      turn: null,
      user: null,
      sandbox: null,
      component: 'sidecar',
      kind: 'intent',
      operation: 'egress.request',
      args_hash: null,
      decision: 'allow',
      rule: 'test',
      secret: 'one',
      time: new Date().toISOString(),
      ...change,
    };
    const stored = await publishIntent(by, auditSubject(of, 'sidecar'), Buffer.from(JSON.stringify(record)), {
      newMessageId: newId,
    });
    return stored.sequence;
  }
  const read = async (secret: string, intentSeq: number): Promise<string> => {
    try {
      return (await broker.call('readSecret', { body: { secret, intentSeq } })).value;
    } catch (error) {
      return error instanceof GloveboxError ? error.code : String(error);
    }
  };
  const value = 'value of one';
  const refusals: readonly [string, () => Promise<string>][] = [
    ['without an intent', async () => await read('one', 999_999)],
    ['for another session’s intent', async () => await read('one', await intent(stranger, strangers))],
    [
      'for an intent that was denied',
      async () => await read('one', await intent(session, bus, { decision: 'deny' })),
    ],
    [
      'for a record that is no intent',
      async () => await read('one', await intent(session, bus, { kind: 'event' })),
    ],
    [
      'for an intent that names another secret',
      async () => await read('one', await intent(session, bus, { secret: 'two' })),
    ],
    [
      'of a secret that is not bound',
      async () => await read('two', await intent(session, bus, { secret: 'two' })),
    ],
  ];
  it.each(refusals)('[R32] not %s', async (_, attempt) => {
    expect(await attempt()).toMatch(/^GB_(?!UPSTREAM|INTERNAL)/);
    // Control: the same read for an intent of its own.
    expect(await read('one', await intent(session, bus))).toBe(value);
  });

  it('[R28] not a second time for the same intent, also when 50 reads race', async () => {
    const once = await intent(session, bus);
    const answers = await Promise.all(Array.from({ length: 50 }, () => read('one', once)));
    expect(answers.filter((answer) => answer === value)).toHaveLength(1);
    expect(await read('one', once)).not.toBe(value);
  });
});

describe('certificates of a few seconds', () => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await Plane.start(join(folder, 'short'), 12);
  });
  afterAll(async () => await plane.close());

  it('[R4] over renewals, while issuing CA and root are replaced, a sidecar loses no call to API, bus or broker', async () => {
    const session = asSessionId(newId());
    const source = await plane.join(session);
    const bus = await BusConnection.connect({
      address: plane.bus,
      svid: source.current(),
      identity: source.current().identity,
    });
    const api = RouteClient.withIdentity(workloadRoutes, () => plane.api, source, 'control-plane');
    const broker = RouteClient.withIdentity(
      secretRoutes,
      () => plane.secrets.address,
      source,
      'secret-broker',
    );
    const failures: string[] = [];
    let renewals = 0;
    source.onRotate((svid) => {
      renewals += 1;
      bus.rotate(svid).catch((error: unknown) => failures.push(`rotation: ${whyOf(error)}`));
    });
    const until = source.current().notAfter.getTime();
    let calls = 0;
    const callAll = async (): Promise<void> => {
      calls += 1;
      await api
        .call('getSandboxPolicy', { params: { session } })
        .catch((error: unknown) => failures.push(`api: ${whyOf(error)}`));
      // Refused for its intent, by the broker itself: the call came through.
      await broker
        .call('readSecret', { body: { secret: 'one', intentSeq: 999_999 } })
        .catch((error: unknown) => {
          const code = error instanceof GloveboxError ? error.code : String(error);
          if (code === 'GB_UPSTREAM_FAILED' || code === 'GB_IDENTITY_REFUSED')
            failures.push(`broker: ${whyOf(error)}`);
        });
      await bus
        .publish(eventsSubject(session), 'x')
        .catch((error: unknown) => failures.push(`bus: ${whyOf(error)}`));
    };
    // A step of the root's rotation once everybody has renewed after the one before: the control plane and the bus's server do
    // as often as the sidecar does.
    const { signer } = plane.ground;
    const steps: [number, () => Promise<unknown>][] = [
      [0, async () => await signer.rotateIssuing()],
      [0, async () => await signer.rotateRoot('announce')],
      [2, async () => await signer.rotateRoot('activate')],
      [4, async () => await signer.rotateRoot('retire')],
    ];
    while (renewals < 6 || Date.now() < until) {
      const [due] = steps;
      if (due !== undefined && renewals >= due[0]) {
        await due[1]();
        steps.shift();
      }
      await callAll();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect({ failures, secretLog: failures.length === 0 ? [] : secretLog }).toEqual({
      failures: [],
      secretLog: [],
    });
    expect(calls).toBeGreaterThan(20);
    expect(await signer.rootPhase()).toBe('announce');
    expect(source.current().bundlePem.split('BEGIN CERTIFICATE')).toHaveLength(2);
    source.close();
    api.close();
    broker.close();
    await bus.close();
  });
});

const whyOf = (error: unknown): string =>
  error instanceof GloveboxError ? `${error.code} ${error.why}` : String(error);
