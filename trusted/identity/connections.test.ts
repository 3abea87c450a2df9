import { Duplex } from 'node:stream';
import { beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadCaller } from '../../pure/contracts/index.ts';
import { ConnectionRegistry, endWithCertificate } from './connections.ts';
import { TestAuthority, TestClock } from './testing.ts';

const silent = (): Duplex =>
  new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
const closed = (socket: Duplex): Promise<void> =>
  new Promise((resolve) => void socket.once('close', resolve));

let identity: WorkloadCaller['identity'];
beforeAll(async () => {
  const authority = await TestAuthority.create();
  ({ identity } = (await authority.source('spiffe://glovebox.local/provider/files/main')).current());
});
const caller = (serial: string, notAfter: number): WorkloadCaller =>
  ({ kind: 'workload', identity, serial, notAfter: new Date(notAfter) }) as WorkloadCaller;

describe('a connection', () => {
  it('[R4] ends with its certificate', async () => {
    const clock = new TestClock(0);
    const socket = silent();
    endWithCertificate(socket, new Date(1000), clock);
    clock.advanceTo(999);
    expect(socket.destroyed).toBe(false);
    clock.advanceTo(1000);
    expect(socket.destroyed).toBe(true);
    await closed(socket);
  });

  it('[R4] is not begun with an ended one', () => {
    const socket = silent();
    endWithCertificate(socket, new Date(1000), new TestClock(1000));
    expect(socket.destroyed).toBe(true);
  });

  it('leaves no timer when it closes before', async () => {
    const clock = new TestClock(0);
    const socket = silent();
    endWithCertificate(socket, new Date(1000), clock);
    expect(clock.next).toBe(1000);
    socket.destroy();
    await closed(socket);
    expect(clock.next).toBeUndefined();
  });
});

describe('the registry of connections', () => {
  it('[R4] ends those of a revoked serial at once, and no others', () => {
    const registry = new ConnectionRegistry(new TestClock(0));
    const [one, two, other] = [silent(), silent(), silent()];
    expect(registry.admit(caller('a1', 1000), one)).toBe(true);
    expect(registry.admit(caller('a1', 1000), two)).toBe(true);
    expect(registry.admit(caller('b2', 1000), other)).toBe(true);
    expect(registry.count(identity.id)).toBe(3);
    registry.revoke(['a1']);
    expect([one.destroyed, two.destroyed, other.destroyed]).toEqual([true, true, false]);
    const late = silent();
    expect(registry.admit(caller('a1', 1000), late)).toBe(false);
    expect(late.destroyed).toBe(true);
  });

  it('[R4] refuses what was revoked before it started', () => {
    const registry = new ConnectionRegistry(new TestClock(0), ['a1']);
    expect(registry.admit(caller('a1', 1000), silent())).toBe(false);
    expect(registry.admit(caller('b2', 1000), silent())).toBe(true);
    expect(registry.isRevoked('a1')).toBe(true);
  });

  it('[R4] ends each with its certificate, and forgets closed ones', async () => {
    const clock = new TestClock(0);
    const registry = new ConnectionRegistry(clock);
    const [early, late] = [silent(), silent()];
    registry.admit(caller('a1', 1000), early);
    registry.admit(caller('b2', 2000), late);
    clock.advanceTo(1000);
    await closed(early);
    expect([early.destroyed, late.destroyed]).toEqual([true, false]);
    expect(registry.count(identity.id)).toBe(1);
    late.destroy();
    await closed(late);
    expect(registry.count(identity.id)).toBe(0);
  });
});
