import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { auditSubject, GloveboxError, providerSubject } from '../../pure/contracts/index.ts';
import { BusConnection, publishIntent } from '../../trusted/bus/index.ts';
import { BusWorld } from './bus-world.ts';
import { newId } from './sidecar-world.ts';

const seconds = 5;
const wanted = { renewals: 20, calls: 10_000 };

let world: BusWorld;
beforeAll(async () => {
  world = await BusWorld.start(seconds);
});
afterAll(async () => await world.close());

const whyOf = (error: unknown): string =>
  error instanceof GloveboxError ? `${error.code} ${error.what} ${error.why}` : String(error);

it(`[R4] ${String(wanted.calls)} calls over ${String(wanted.renewals)} renewals of everybody’s certificate: none fails`, async () => {
  await world.provider('graph', 'one', { read: (args) => Promise.resolve({ echo: args['n'] }) });
  await world.provider('graph', 'two', { read: (args) => Promise.resolve({ echo: args['n'] }) });
  const { session, identity } = await world.sidecar();
  const svid = identity.current();
  const bus = await BusConnection.connect({ address: world.bus, svid, identity: svid.identity });
  const failures: string[] = [];
  let renewals = 0;
  let calls = 0;
  identity.onRotate((next) => {
    renewals += 1;
    bus.rotate(next).catch((error: unknown) => failures.push(`rotation: ${whyOf(error)}`));
  });
  const subject = providerSubject('graph', 'read', session);
  const call = async (n: number): Promise<void> => {
    const request = JSON.stringify({ callId: String(n), args: { n } });
    const answer = await bus.request(subject, request, { timeoutMs: 20_000 });
    expect(answer.json()).toEqual({ ok: true, result: { echo: n } });
  };
  const record = async (): Promise<void> => {
    const bytes = Buffer.from(JSON.stringify({ id: newId() }));
    await publishIntent(bus, auditSubject(session, 'sidecar'), bytes, { newMessageId: newId });
  };
  // The first that is served: its provider may have to join still.
  await expect
    .poll(
      () =>
        call(0).then(
          () => true,
          () => false,
        ),
      { timeout: 20_000 },
    )
    .toBe(true);
  const caller = async (): Promise<void> => {
    while (renewals < wanted.renewals || calls < wanted.calls) {
      calls += 1;
      const n = calls;
      await call(n).catch((error: unknown) => failures.push(`call ${String(n)}: ${whyOf(error)}`));
      // Spread over the renewals, not as many as the machine can.
      await pause(12);
      if (n % 8 === 0) await record().catch((error: unknown) => failures.push(`record: ${whyOf(error)}`));
    }
  };
  await Promise.all(Array.from({ length: 6 }, caller));
  expect(failures.slice(0, 8)).toEqual([]);
  expect(world.ended).toEqual([]);
  identity.close();
  await bus.close();
});
