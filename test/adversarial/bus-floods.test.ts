import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { limits, providerSubject, type SessionId } from '../../pure/contracts/index.ts';
import { BusConnection, isUndelivered } from '../../trusted/bus/index.ts';
import type { SvidMaterial } from '../../trusted/identity/index.ts';
import { BusWorld } from '../integration/bus-world.ts';
import { RawNats } from './raw-nats.ts';

/** A provider by hand that takes more than it should: it loses its connection, and nobody else anything. */
let world: BusWorld;
let hostile: SvidMaterial;
let session: SessionId;
let bystander: BusConnection;
const open: RawNats[] = [];
beforeAll(async () => {
  world = await BusWorld.start(300);
  await world.provider('graph', 'honest', { read: () => Promise.resolve({ answer: 42 }) });
  hostile = await world.certificate({ kind: 'provider', domain: 'slow', name: 'hostile' });
  const sidecar = await world.sidecar();
  const svid = sidecar.identity.current();
  session = sidecar.session;
  bystander = await BusConnection.connect({ address: world.bus, svid, identity: svid.identity });
  await vi.waitFor(async () => expect(await works()).toBe(true), { timeout: 180_000 });
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.end()));
});
afterAll(async () => {
  await bystander.close();
  await world.close();
});

async function raw(): Promise<RawNats> {
  const one = await RawNats.connect(world.bus, hostile);
  open.push(one);
  return one;
}
const ask = (domain: string, size = 0): Promise<unknown> =>
  bystander.request(
    providerSubject(domain, 'read', session),
    JSON.stringify({ callId: '1', args: { filler: 'x'.repeat(size) } }),
    { timeoutMs: 10_000 },
  );
const works = (): Promise<boolean> =>
  ask('graph').then(
    () => true,
    () => false,
  );

it('[R45] a flood of subscriptions ends at its bound', async () => {
  const one = await raw();
  for (let count = 0; count <= limits.busSubscriptions.value; count += 1) {
    one.subscribe('gb.provider.slow.*.*', 'slow');
  }
  const errors = await one.settle().catch((error: unknown) => [String(error)]);
  expect(errors.join()).toMatch(/maximum subscriptions exceeded/i);
  expect(await works()).toBe(true);
});

it('[R45] a payload over the bound ends the connection before it is read', async () => {
  const one = await raw();
  one.line(`PUB _INBOX.sidecar.${session}.reply.slow.x ${String(limits.busPayload.value + 1)}`);
  await one.closed;
  expect(one.errors.join()).toMatch(/maximum payload violation/i);
  expect(await works()).toBe(true);
});

it('[R45] a line without an end ends the connection', async () => {
  const one = await raw();
  one.line(`SUB ${'a'.repeat(100_000)}`);
  await one.closed;
  expect(await works()).toBe(true);
});

it('[R45] what does not read is cut off; other domains are answered meanwhile', async () => {
  const one = await raw();
  one.subscribe('gb.provider.slow.*.*', 'slow');
  expect(await one.settle()).toEqual([]);
  one.stopReading();
  const filler = 'x'.repeat(500_000);
  // Who is cut off serves no more; until then the request waits in its queue.
  const isCut = (): Promise<boolean> =>
    bystander.request(providerSubject('slow', 'read', session), filler, { timeoutMs: 50 }).then(
      () => false,
      (error: unknown) => isUndelivered(error),
    );
  while (!(await isCut())) expect(await works()).toBe(true);
  expect(await works()).toBe(true);
});

it('[R45] connections beyond those that one identity may have end its own oldest', async () => {
  const many = [];
  for (let count = 0; count < limits.busConnectionsOfOne.value + 6; count += 1) many.push(await raw());
  let open = many.length;
  for (const one of many) void one.closed.then(() => (open -= 1));
  await expect.poll(() => open).toBe(limits.busConnectionsOfOne.value);
  expect(await works()).toBe(true);
});
