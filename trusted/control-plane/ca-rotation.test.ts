import { afterEach, beforeEach, expect, it } from 'vitest';
import { asUserId, defaultTrustDomain, GloveboxError, limits } from '../../pure/contracts/index.ts';
import { TestClock } from '../identity/testing.ts';
import { startTestSigner, type TestSigner } from '../signer/testing.ts';
import { CaRotation } from './ca-rotation.ts';

const lifetime = limits.certificateLifetime.value;
const person = asUserId('local/alice');
let test: TestSigner;
let clock: TestClock;
let records: string[];
let audited: boolean;
const errors: unknown[] = [];
beforeEach(async () => {
  [test, clock, records, audited] = [await startTestSigner(), new TestClock(), [], true];
});
afterEach(async () => await test.close());

function rotation(): CaRotation {
  return new CaRotation({
    signer: test.signer,
    trustDomain: defaultTrustDomain,
    certificateLifetimeMs: lifetime,
    audit: {
      record: async ({ operation, user }) => {
        if (!audited) throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'in this test' });
        return records.push(user === undefined ? operation : `${operation} by ${user}`);
      },
    },
    clock,
    onError: (error) => errors.push(error),
  });
}
const roles = async (of: CaRotation): Promise<string[]> => (await of.view()).roots.map(({ role }) => role);

it('[R4] the steps after the first are taken by themselves, each a whole certificate lifetime after the one before', async () => {
  const ca = rotation();
  const before = await ca.view();
  expect(await ca.beginRoot(person)).toMatchObject({ rotation: { next: 'activate' } });
  clock.advance(lifetime - 1);
  expect(await roles(ca)).toEqual(['current', 'next']);
  clock.advance(1);
  await expect.poll(async () => await roles(ca)).toEqual(['current', 'previous']);
  await expect.poll(() => clock.next).toBe(clock.now() + lifetime);
  clock.advance(lifetime);
  await expect.poll(async () => await roles(ca)).toEqual(['current']);
  const after = await ca.view();
  expect(after.rotation).toBeNull();
  expect(after.roots[0]?.fingerprint).not.toBe(before.roots[0]?.fingerprint);
  expect(records).toEqual(['ca.announce by local/alice', 'ca.activate', 'ca.retire']);
});

it('[R46] a control plane that was started again meanwhile waits a lifetime anew, and goes on', async () => {
  const first = rotation();
  await first.beginRoot(person);
  first.close();
  clock.advance(lifetime);
  const second = rotation();
  await second.resume();
  expect(await roles(second)).toEqual(['current', 'next']);
  clock.advance(lifetime);
  await expect.poll(async () => await roles(second)).toEqual(['current', 'previous']);
});

it('[R42] a step that cannot be written down is not taken, and tried again', async () => {
  const ca = rotation();
  await ca.beginRoot(person);
  audited = false;
  clock.advance(lifetime);
  await expect.poll(() => errors.length).toBeGreaterThan(0);
  expect(await roles(ca)).toEqual(['current', 'next']);
  await expect(ca.rotateIssuing(person)).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
  audited = true;
  await expect.poll(() => clock.next).toBeDefined();
  clock.advance(limits.renewalRetry.value);
  await expect.poll(async () => await roles(ca)).toEqual(['current', 'previous']);
});

it('of several who begin it one does; the others are told how far it is', async () => {
  const ca = rotation();
  const all = await Promise.allSettled(Array.from({ length: 5 }, async () => await ca.beginRoot(person)));
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  await expect(ca.beginRoot(person)).rejects.toMatchObject({ code: 'GB_CA_ROTATING' });
  // A new issuing CA is no part of it.
  const { issuing } = await ca.view();
  expect((await ca.rotateIssuing(person)).issuing.fingerprint).not.toBe(issuing.fingerprint);
});
