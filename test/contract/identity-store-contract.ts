import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultTrustDomain, spiffeId } from '../../pure/contracts/index.ts';
import type { IdentityStore, IssuedSerial } from '../../trusted/identity/index.ts';

export interface OpenedIdentityStore {
  readonly store: IdentityStore;
  /** The same state as another replica sees it at the same time; for adapters that several processes use. */
  readonly second?: IdentityStore;
  /** The state as it is after the process ended and started again. Undefined where it lives in the process only. */
  readonly restart?: () => Promise<IdentityStore>;
  close(): Promise<void>;
}

const files = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'files', name: 'main' });
const graph = spiffeId(defaultTrustDomain, { kind: 'provider', domain: 'graph', name: 'main' });
const binding = { spiffeId: files, expiresAt: 60_000 };
const serial = (name: string, notAfter = 300_000, id = files): IssuedSerial => ({
  serial: name,
  spiffeId: id,
  channel: 'workload-api',
  notAfter,
});

/** What every adapter of IdentityStore keeps. */
export function identityStoreContract(name: string, open: () => Promise<OpenedIdentityStore>): void {
  describe(`identity store: ${name}`, () => {
    let opened: OpenedIdentityStore;
    let store: IdentityStore;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.close());

    it('[R6] a hash is fresh once, then used; another is unknown', async () => {
      await store.insertHash('h1', binding);
      expect(await store.consumeHash('h1')).toEqual({ state: 'fresh', binding });
      expect(await store.consumeHash('h1')).toEqual({ state: 'used' });
      expect(await store.consumeHash('h2')).toEqual({ state: 'unknown' });
    });

    it('[R6] of 100 that race for a hash exactly one has it', async () => {
      await store.insertHash('h1', binding);
      const second = opened.second ?? store;
      const uses = await Promise.all(
        Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? store : second).consumeHash('h1')),
      );
      expect(uses.filter(({ state }) => state === 'fresh')).toHaveLength(1);
      expect(uses.filter(({ state }) => state === 'used')).toHaveLength(99);
    });

    it('[R6] a hash is not inserted twice', async () => {
      await store.insertHash('h1', binding);
      await store.consumeHash('h1');
      await expect(store.insertHash('h1', binding)).rejects.toThrow();
      expect(await store.consumeHash('h1')).toEqual({ state: 'used' });
    });

    it('[R4] a serial renews into its lineage', async () => {
      expect(await store.beginLineage('l1', serial('a1'))).toBe(true);
      expect(await store.findSerial('a1')).toEqual({
        lineage: 'l1',
        spiffeId: files,
        channel: 'workload-api',
        notAfter: 300_000,
        renewed: false,
        revoked: false,
      });
      expect(await store.renewSerial('a1', serial('a2', 450_000), 150_000)).toEqual({ state: 'renewed' });
      expect(await store.findSerial('a1')).toMatchObject({ renewed: true, revoked: false });
      expect(await store.findSerial('a2')).toMatchObject({
        lineage: 'l1',
        renewed: false,
        notAfter: 450_000,
      });
      expect(await store.findSerial('zz')).toBeUndefined();
      expect(await store.renewSerial('zz', serial('a3'), 0)).toEqual({ state: 'unknown' });
    });

    it('[R4] a second renewal revokes the lineage and adds nothing', async () => {
      await store.beginLineage('l1', serial('a1'));
      await store.beginLineage('l2', serial('b1'));
      await store.renewSerial('a1', serial('a2'), 1);
      const outcome = await store.renewSerial('a1', serial('a3'), 2);
      expect(outcome.state === 'revoked' && [...outcome.serials].sort()).toEqual(['a1', 'a2']);
      expect(await store.findSerial('a3')).toBeUndefined();
      expect(await store.findSerial('a2')).toMatchObject({ revoked: true });
      expect(await store.renewSerial('a2', serial('a4'), 3)).toMatchObject({ state: 'revoked' });
      expect(await store.findSerial('b1')).toMatchObject({ revoked: false });
    });

    it('[R4] of 100 renewals that race one is recorded, and the lineage is revoked', async () => {
      await store.beginLineage('l1', serial('a1'));
      const second = opened.second ?? store;
      const outcomes = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 === 0 ? store : second).renewSerial('a1', serial(`n${i}`), 1),
        ),
      );
      expect(outcomes.filter(({ state }) => state === 'renewed')).toHaveLength(1);
      expect(outcomes.filter(({ state }) => state === 'revoked')).toHaveLength(99);
      expect(await store.revokedSerials(1)).toHaveLength(2);
    });

    it('[R4] revoking a lineage names what has not ended', async () => {
      await store.beginLineage('l1', serial('a1', 100));
      await store.renewSerial('a1', serial('a2', 200), 50);
      expect(await store.revokeLineage('l1', 150)).toEqual(['a2']);
      expect(await store.revokedSerials(150)).toEqual(['a2']);
      expect(await store.revokedSerials(200)).toEqual([]);
    });

    it('[R4] revoking an identity takes its lineages, its tokens and those just joining, and no other\u2019s', async () => {
      await store.beginLineage('l1', serial('a1'));
      await store.beginLineage('l2', serial('a2'));
      await store.beginLineage('l3', serial('g1', 300_000, graph));
      await store.insertHash('joining', binding);
      await store.insertHash('waiting', binding);
      await store.insertHash('other', { ...binding, spiffeId: graph });
      await store.consumeHash('joining');
      expect([...(await store.revokeIdentity(files, 1))].sort()).toEqual(['a1', 'a2']);
      expect(await store.beginLineage('joining', serial('a3'))).toBe(false);
      expect(await store.findSerial('a3')).toBeUndefined();
      expect(await store.consumeHash('waiting')).toEqual({ state: 'used' });
      expect(await store.consumeHash('other')).toMatchObject({ state: 'fresh' });
      expect(await store.findSerial('g1')).toMatchObject({ revoked: false });
      await store.insertHash('new', binding);
      expect(await store.consumeHash('new')).toMatchObject({ state: 'fresh' });
      expect(await store.beginLineage('new', serial('a4'))).toBe(true);
      expect(await store.findSerial('a4')).toMatchObject({ revoked: false });
    });

    it('forgets what ended before a time, and nothing else', async () => {
      await store.insertHash('old', { ...binding, expiresAt: 10 });
      await store.insertHash('young', { ...binding, expiresAt: 100 });
      await store.beginLineage('l1', serial('a1', 10));
      await store.renewSerial('a1', serial('a2', 100), 5);
      await store.revokeLineage('l1', 5);
      await store.forget(50);
      expect(await store.consumeHash('old')).toEqual({ state: 'unknown' });
      expect(await store.consumeHash('young')).toMatchObject({ state: 'fresh' });
      expect(await store.findSerial('a1')).toBeUndefined();
      expect(await store.findSerial('a2')).toMatchObject({ revoked: true });
    });

    it('[R6] remembers through a restart', async (context) => {
      await store.insertHash('h1', binding);
      await store.consumeHash('h1');
      await store.beginLineage('l1', serial('a1'));
      await store.renewSerial('a1', serial('a2'), 1);
      if (opened.restart === undefined) return context.skip('this adapter lives in its process only');
      const again = await opened.restart();
      expect(await again.consumeHash('h1')).toEqual({ state: 'used' });
      expect(await again.renewSerial('a1', serial('a3'), 2)).toMatchObject({ state: 'revoked' });
    });
  });
}
