import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  auditSubject,
  controlSubject,
  defaultTrustDomain,
  providerSubject,
  providerSubscription,
  type SessionId,
} from '../../pure/contracts/index.ts';
import { busOperators, ensureAuditStream, NatsServer, publishIntent, type BusConnection } from './index.ts';
import { natsServerPath, newMessageId, newSessionId, startTestBus, type TestBus } from './testing.ts';

let bus: TestBus;
let controlPlane: BusConnection;
let session: SessionId;
let sidecar: BusConnection;
let provider: BusConnection;
beforeEach(async () => {
  bus = await startTestBus();
  session = newSessionId();
  controlPlane = await bus.connect({ kind: 'control-plane', replica: 'main' });
  await ensureAuditStream(controlPlane);
  sidecar = await bus.connect({ kind: 'sidecar', session });
  provider = await bus.connect({ kind: 'provider', domain: 'graph', name: 'one' });
});
afterEach(() => bus.close());

const rotations: Record<string, () => Promise<void>> = {
  'the sidecar’s': async () => sidecar.rotate(await bus.ca.issue({ kind: 'sidecar', session })),
  'the provider’s': async () =>
    provider.rotate(await bus.ca.issue({ kind: 'provider', domain: 'graph', name: 'one' })),
  'the server’s': async () => bus.server.rotate(await bus.ca.issue({ kind: 'bus', server: 'test' })),
  'the callout’s': async () => bus.callout.rotate(await bus.ca.issue(busOperators.callout)),
};

for (const [whose, rotate] of Object.entries(rotations)) {
  it(`[R4] renewing ${whose} certificate loses no request, no answer and no record`, async () => {
    const { pattern, queue } = providerSubscription('graph');
    // Each request is answered only when the renewal has happened in between: it is open on both sides of it.
    let renewed = (): void => undefined;
    const renewal = new Promise<void>((resolve) => {
      renewed = resolve;
    });
    let arrived = 0;
    let allArrived = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      allArrived = resolve;
    });
    await provider.subscribe(
      pattern,
      async (message) => {
        arrived += 1;
        if (arrived === 20) allArrived();
        await renewal;
        message.respond(message.string());
      },
      { queue },
    );
    const ask = (text: string): Promise<string> =>
      sidecar.request(providerSubject('graph', 'read', session), text).then((message) => message.string());
    const record = (): Promise<unknown> =>
      publishIntent(sidecar, auditSubject(session, 'sidecar'), Buffer.from('"x"'), { newMessageId });
    const before = Array.from({ length: 20 }, (_, index) => ask(`before ${index}`));
    await waiting;
    const renewing = rotate();
    const during = Array.from({ length: 20 }, (_, index) => ask(`during ${index}`));
    const records = Array.from({ length: 20 }, record);
    await renewing;
    renewed();
    const answers = await Promise.all([...before, ...during, ask('after')]);
    expect(answers.length).toBe(41);
    expect(new Set(answers).size).toBe(41);
    await Promise.all(records);
  });
}

it('[R4] a plain subscription misses nothing over a renewal', async () => {
  const seen = new Set<string>();
  await sidecar.subscribe(controlSubject(session), (message) => {
    seen.add(message.string());
  });
  const sent: string[] = [];
  const renewal = { done: false };
  const renewing = sidecar.rotate(await bus.ca.issue({ kind: 'sidecar', session })).finally(() => {
    renewal.done = true;
  });
  while (!renewal.done) {
    sent.push(String(sent.length));
    await controlPlane.publish(controlSubject(session), sent.at(-1) ?? '');
  }
  await renewing;
  await controlPlane.publish(controlSubject(session), 'last');
  await expect.poll(() => seen.has('last')).toBe(true);
  expect(sent.filter((text) => !seen.has(text))).toEqual([]);
});

it('a renewal that fails leaves the old connection in use', async () => {
  const expired = await bus.ca.issue({ kind: 'sidecar', session }, { lifetimeMs: -1000 });
  await expect(sidecar.rotate(expired)).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
  await publishIntent(sidecar, auditSubject(session, 'sidecar'), Buffer.from('"x"'), { newMessageId });
});

it('after the renewal the old connection is closed', async () => {
  let old: Promise<unknown> | undefined;
  await sidecar.use((nc) => {
    old = nc.closed();
    return Promise.resolve();
  });
  await sidecar.rotate(await bus.ca.issue({ kind: 'sidecar', session }));
  await old;
  await publishIntent(sidecar, auditSubject(session, 'sidecar'), Buffer.from('"x"'), { newMessageId });
});

it('[R46] connections come back by themselves to a server that was killed and started again', async () => {
  const { pattern, queue } = providerSubscription('graph');
  await provider.subscribe(pattern, (message) => void message.respond('there'), { queue });
  process.kill(bus.server.pid ?? 0, 'SIGKILL');
  expect(await bus.server.exited).toEqual({ code: null, signal: 'SIGKILL' });
  const again = await NatsServer.start({
    binary: natsServerPath,
    folder: bus.folder,
    name: 'test',
    port: bus.server.port,
    trustDomain: defaultTrustDomain,
    keys: bus.keys,
    svid: await bus.ca.issue({ kind: 'bus', server: 'test' }),
  });
  try {
    await expect
      .poll(
        () =>
          sidecar
            .request(providerSubject('graph', 'read', session), 'x', { timeoutMs: 300 })
            .then((message) => message.string())
            .catch(() => 'not yet'),
        { timeout: 15_000 },
      )
      .toBe('there');
  } finally {
    await again.stop();
  }
});

it('a server that cannot start says why', async () => {
  await expect(
    NatsServer.start({
      binary: natsServerPath,
      folder: bus.folder,
      name: 'test',
      port: bus.server.port,
      trustDomain: defaultTrustDomain,
      keys: bus.keys,
      svid: await bus.ca.issue({ kind: 'bus', server: 'test' }),
    }),
  ).rejects.toMatchObject({ code: 'GB_BUS_UNAVAILABLE' });
});
