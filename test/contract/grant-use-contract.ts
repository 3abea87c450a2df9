import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  asTurnId,
  asUserId,
  consentClaims,
  defaultTrustDomain,
  spiffeId,
  type UserId,
} from '../../pure/contracts/index.ts';
import { newborn } from '../../pure/session/index.ts';
import { ConsentService } from '../../trusted/control-plane/consents/consent-service.ts';
import { GrantService, type GrantUse } from '../../trusted/control-plane/consents/grant-service.ts';
import { randomIds } from '../../trusted/control-plane/random-ids.ts';
import type { ControlWords } from '../../trusted/control-plane/sessions/control-channel.ts';
import type { SessionRecord, Store } from '../../trusted/store/index.ts';
import { origin, type OpenedStore } from './store-contract.ts';

const alice = asUserId('local/1000');
const bob = asUserId('local/1001');
const now = Date.parse('2026-11-01T00:00:30.000Z');
const iso = (ms: number): string => new Date(ms).toISOString();
const argsHash = 'ab'.repeat(32);

/** The product's way of a grant, from the question to its last use, on a store of this adapter and as two replicas see it. */
export function grantUseContract(adapter: string, open: () => Promise<OpenedStore>): void {
  describe(`using grants: ${adapter}`, () => {
    let opened: OpenedStore;
    let store: Store;
    let session: SessionRecord;
    let replicas: readonly GrantService[];
    let said: ControlWords[];
    let audited: string[];
    const control = { say: async (_: string, words: ControlWords) => void said.push(words) };
    const audit = { record: async ({ operation }: { operation: string }) => audited.push(operation) };
    const clock = { now: () => now };

    const turnOf = async (user: UserId, of: SessionRecord = session): Promise<string> => {
      const id = randomIds.turn();
      await store.turns.open({
        id,
        sessionId: of.id,
        user,
        openedAt: iso(now),
        expiresAt: iso(now + 1e6),
      });
      await store.sessions.note(of.id, { turnId: id });
      return id;
    };
    const started = async (n: number): Promise<SessionRecord> => {
      const { id } = await store.sessions.insert(origin(n), { ...newborn, state: 'running' });
      return (await store.sessions.get(id)) ?? expect.fail('no session');
    };

    beforeEach(async () => {
      opened = await open();
      ({ store } = opened);
      said = [];
      audited = [];
      session = await started(1);
      replicas = [store, opened.second].map((of) => new GrantService({ store: of, control, audit, clock }));
    });
    afterEach(async () => await opened.close());

    /** Asked, approved and spent as the product does it. */
    const granted = async (
      mode: 'once' | 'session',
      scope = 'files:write:/shared/a',
      argumentsText = '',
    ): Promise<{ readonly id: string; readonly turn: string }> => {
      const turn = await turnOf(alice);
      session = (await store.sessions.get(session.id)) ?? session;
      const consents = new ConsentService({
        store,
        control,
        audit,
        signConsent: async (claims) => JSON.stringify(claims),
        verifyConsent: async (token) => consentClaims.parse(JSON.parse(token)),
        signerId: spiffeId(defaultTrustDomain, { kind: 'signer' }),
        sidecarId: (of) => spiffeId(defaultTrustDomain, { kind: 'sidecar', session: of }),
        onQuestion: () => undefined,
        onError: () => undefined,
        clock,
        ids: randomIds,
      });
      const asked = await consents.ask(session, {
        scope,
        reason: '',
        turnId: turn,
        operation: 'files.write',
        host: null,
        argsHash,
        argumentsText,
      });
      await consents.approve(asked.id, asked.digest, mode, alice);
      const word = said.findLast((one) => one.type === 'consent');
      const { grantId } = await consents.consume(session, word?.type === 'consent' ? (word.token ?? '') : '');
      consents.close();
      return { id: grantId, turn };
    };
    const use = (id: string, turn: string, more: Partial<GrantUse> = {}): GrantUse => ({
      grantId: id,
      turnId: turn,
      scope: 'files:write:/shared/a',
      argsHash,
      ...more,
    });
    const used = async (one: GrantUse, of = session): Promise<boolean> =>
      (await (replicas[0] as GrantService).use(of, one)).used;

    it('[R37] of 100 racing calls on a once-grant exactly one goes through, over two replicas', async () => {
      const { id, turn } = await granted('once');
      const all = await Promise.all(
        Array.from({ length: 100 }, async (_, n) =>
          (replicas[n % 2] as GrantService).use(session, use(id, turn)),
        ),
      );
      expect(all.filter((one) => one.used)).toHaveLength(1);
      expect(await used(use(id, turn))).toBe(false);
    });

    it('[R35] [R36] a use is of the session, the person of the turn, the scope and the arguments', async () => {
      const { id, turn } = await granted('once', 'files:write:/shared/a', '{"path":"/shared/a"}');
      const other = await started(2);
      const theirs = await turnOf(alice, other);
      const bobs = await turnOf(bob);
      for (const wrong of [
        use(id, bobs),
        use(id, theirs),
        use(id, asTurnId(randomIds.turn())),
        use(id, 'no turn'),
        use(randomIds.grant(), turn),
        use('no grant', turn),
        use(id, turn, { scope: 'files:write:/shared/b' }),
        use(id, turn, { scope: 'files:write:/shared/**' }),
        use(id, turn, { scope: 'files:read:/shared/a' }),
        use(id, turn, { argsHash: 'cd'.repeat(32) }),
      ])
        expect(await used(wrong), JSON.stringify(wrong)).toBe(false);
      expect(await used(use(id, turn), other)).toBe(false);
      expect(await used(use(id, turn), { ...session, state: 'ended' })).toBe(false);
      // The control, though the turn of the call has ended meanwhile: it began before the switch.
      expect(await used(use(id, turn))).toBe(true);
    });

    it('[R37] a revoked grant serves nobody, is said, and is written down', async () => {
      const { id, turn } = await granted('session');
      const [service] = replicas as readonly [GrantService];
      expect(await used(use(id, turn))).toBe(true);
      expect(await used(use(id, turn))).toBe(true);
      expect(await service.list(null, false)).toMatchObject([{ id, state: 'open', sessionName: 'work-1' }]);
      expect(await service.revoke(id, alice)).toMatchObject({ id, state: 'revoked' });
      expect(said.at(-1)).toEqual({ type: 'grant-revoked', grant_id: id });
      expect(audited.at(-1)).toBe('grant.revoke');
      expect(await used(use(id, turn))).toBe(false);
      expect(await service.list(null, false)).toEqual([]);
      expect(await service.list(session.id, true)).toMatchObject([{ id, state: 'revoked' }]);
      expect((await service.explain(id)).question).toMatchObject({ scope: 'files:write:/shared/a' });
      await expect(service.revoke(randomIds.grant(), alice)).rejects.toThrow('GB_NOT_FOUND');
    });

    it('[R36] with several people a grant for the session is for one use', async () => {
      const { id, turn } = await granted('session');
      expect(await store.grants.onceOnly(session.id)).toBe(1);
      expect(await used(use(id, turn))).toBe(true);
      expect(await used(use(id, turn))).toBe(false);
      expect(await store.grants.onceOnly(session.id)).toBe(0);
    });

    it('[R36] of racing openings one turn is open in the end, and the others have ended', async () => {
      const opening = Array.from({ length: 20 }, async (_, n) => {
        const id = randomIds.turn();
        const of = n % 2 === 0 ? store : opened.second;
        const turn = { id, sessionId: session.id, user: alice, openedAt: iso(now), expiresAt: iso(now + 1) };
        return await of.turns.open(turn).then(
          () => id,
          () => undefined,
        );
      });
      const ids = (await Promise.all(opening)).filter((id) => id !== undefined);
      const turns = await Promise.all(ids.map(async (id) => await store.turns.get(id)));
      expect(turns.filter((turn) => turn?.endedAt === null)).toHaveLength(1);
      expect(await store.turns.participantsOf(session.id)).toEqual([alice]);
      const last = await store.turns.openOf(session.id);
      if (last === undefined) expect.fail('none is open');
      expect(await store.turns.end(last.id, iso(now))).toBe(true);
      expect(await store.turns.end(last.id, iso(now))).toBe(false);
      expect(await store.turns.openOf(session.id)).toBeUndefined();
    });
  });
}
