import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  asConsentId,
  asGrantId,
  asSandboxId,
  asSessionId,
  asTurnId,
  asUserId,
  encodeId,
  policyDocument,
  type ConsentQuestion,
  type SessionId,
} from '../../pure/contracts/index.ts';
import { newborn, transition } from '../../pure/session/index.ts';
import type { Grant, GrantKey, SessionOrigin, Store } from '../../trusted/store/index.ts';

export interface OpenedStore {
  readonly store: Store;
  /** The state as it is after the process ended and started again. */
  restart(): Promise<Store>;
  /** The same state as another replica sees it at the same time; the store itself where there can be only one. */
  readonly second: Store;
  close(): Promise<void>;
}

export const idOf = (n: number): string =>
  encodeId(Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? n : i)));
const at = '2026-11-01T00:00:00.000Z';

export const origin = (n: number, more: Partial<SessionOrigin> = {}): SessionOrigin => ({
  id: asSessionId(idOf(n)),
  sandboxId: asSandboxId(idOf(n + 100)),
  name: `work-${n}`,
  replica: 'one',
  command: ['sh', '-c', 'echo "a b"\n'],
  workspace: '/home/alice/project',
  workspaceMode: 'staged',
  tier: 'standard',
  user: asUserId('local/1000'),
  preset: null,
  terminal: false,
  createdAt: `2026-11-01T00:00:${String(n).padStart(2, '0')}.000Z`,
  expiresAt: '2026-11-01T08:00:00.000Z',
  policy: policyDocument.parse({ version: 1 }),
  secrets: ['anthropic'],
  ...more,
});

export const question = (
  n: number,
  session: SessionId,
  more: Partial<ConsentQuestion> = {},
): ConsentQuestion => ({
  id: idOf(n),
  sessionId: session,
  sessionName: 'work-1',
  user: 'local/1000',
  turnId: idOf(60),
  scope: 'files:write:/shared/a',
  operation: 'files.write',
  host: null,
  argumentsText: '{}',
  argsHash: 'ab',
  reason: 'because',
  createdAt: at,
  expiresAt: '2026-11-01T00:05:00.000Z',
  digest: 'cd',
  state: 'pending',
  count: 1,
  ...more,
});

export const grant = (
  n: number,
  session: SessionId,
  challenge: string,
  more: Partial<Grant> = {},
): Grant => ({
  id: asGrantId(idOf(n)),
  sessionId: session,
  user: asUserId('local/1000'),
  scope: 'files:write:/shared/a',
  mode: 'once',
  challengeId: asConsentId(challenge),
  createdAt: at,
  revokedAt: null,
  expiresAt: null,
  usedAt: null,
  ...more,
});

/** What every adapter of Store keeps, beside the contracts of identity and audit. */
export function storeContract(adapter: string, open: () => Promise<OpenedStore>): void {
  describe(`store: ${adapter}`, () => {
    let opened: OpenedStore;
    let store: Store;
    beforeEach(async () => {
      opened = await open();
      ({ store } = opened);
    });
    afterEach(async () => await opened.close());

    const started = async (n = 1): Promise<SessionId> => {
      const record = await store.sessions.insert(origin(n), newborn);
      return record.id;
    };

    it('gives a session back as it was written, also after a restart', async () => {
      const written = await store.sessions.insert(origin(1), newborn);
      await store.sessions.note(written.id, {
        turnId: asTurnId(idOf(60)),
        weakened: ['memory is not limited'],
        limits: [{ limit: 'cpu', value: '2', enforcedBy: null }],
        changes: 'kept',
        policyGeneration: 3,
      });
      store = await opened.restart();
      expect(await store.sessions.get(written.id)).toEqual({
        ...written,
        turnId: idOf(60),
        weakened: ['memory is not limited'],
        limits: [{ limit: 'cpu', value: '2', enforcedBy: null }],
        changes: 'kept',
        policyGeneration: 3,
      });
    });

    it('an open session keeps its name to itself; an ended one gives it free', async () => {
      const first = await store.sessions.insert(origin(1, { name: 'mine' }), newborn);
      await expect(store.sessions.insert(origin(2, { name: 'mine' }), newborn)).rejects.toMatchObject({
        code: 'GB_INPUT_INVALID',
      });
      expect(await store.sessions.get(asSessionId(idOf(2)))).toBeUndefined();
      const over = transition(first, { type: 'found-unfinished', at });
      if (over.kind !== 'moved') throw new Error('it did not move');
      await store.sessions.move(first.id, 'created', over.life);
      const second = await store.sessions.insert(origin(2, { name: 'mine' }), newborn);
      expect((await store.sessions.find('mine')).map((one) => one.id)).toEqual([second.id]);
    });

    it('moves a session only from the state that it is in: of two movers one wins', async () => {
      const id = await started();
      const preparing = { ...newborn, state: 'preparing' } as const;
      const moves = await Promise.all([
        store.sessions.move(id, 'created', preparing),
        store.sessions.move(id, 'created', preparing),
      ]);
      expect(moves.filter(Boolean)).toHaveLength(1);
      expect(await store.sessions.move(id, 'running', preparing)).toBe(false);
      expect((await store.sessions.get(id))?.state).toBe('preparing');
    });

    it('finds by name and by the start of an id, from four characters on, and says when it means several', async () => {
      const id = await started(1);
      expect(await store.sessions.find(id.slice(0, 3))).toEqual([]);
      expect((await store.sessions.find(id.slice(0, 4))).map((one) => one.id)).toEqual([id]);
      expect((await store.sessions.find('work-1')).map((one) => one.id)).toEqual([id]);
      for (const wild of ['%', '____', 'a%', "' or 1=1 --"])
        expect(await store.sessions.find(wild)).toEqual([]);
      const twin = origin(1, { name: 'twin', sandboxId: asSandboxId(idOf(7)) });
      const alike = asSessionId(`${id.slice(0, 25)}${id.endsWith('4') ? 'q' : '4'}`);
      await store.sessions.insert({ ...twin, id: alike }, newborn);
      expect(await store.sessions.find(id.slice(0, 4))).toHaveLength(2);
    });

    it('lists newest first, and open ones alone on request', async () => {
      await started(1);
      await started(2);
      const third = await started(3);
      await store.sessions.move(third, 'created', {
        ...newborn,
        state: 'ended',
        reason: 'stopped',
        endedAt: at,
      });
      expect((await store.sessions.list({ ended: true, limit: 9 })).map((one) => one.name)).toEqual([
        'work-3',
        'work-2',
        'work-1',
      ]);
      expect((await store.sessions.list({ ended: false, limit: 9 })).map((one) => one.name)).toEqual([
        'work-2',
        'work-1',
      ]);
      expect(await store.sessions.countOpen()).toBe(2);
    });

    it('[R9] gives each control sequence number out once, raced and restarted', async () => {
      const id = await started();
      const numbers = await Promise.all(
        Array.from({ length: 50 }, () => store.sessions.nextControlSequence(id)),
      );
      expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
      store = await opened.restart();
      expect(await store.sessions.nextControlSequence(id)).toBe(51);
      await expect(store.sessions.nextControlSequence(asSessionId(idOf(99)))).rejects.toMatchObject({
        code: 'GB_NOT_FOUND',
      });
    });

    it('a question is answered once: of 100 racing answers one counts', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          store.consents.answer(asConsentId(idOf(20)), i % 2 === 0 ? 'approved' : 'denied'),
        ),
      );
      expect(answers.filter(Boolean)).toHaveLength(1);
      expect((await store.consents.get(asConsentId(idOf(20))))?.state).not.toBe('pending');
    });

    it('folds, counts and lists what is pending or overdue', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      await store.consents.insert(question(21, session, { expiresAt: '2026-11-01T01:00:00.000Z' }));
      await store.consents.fold(asConsentId(idOf(20)));
      await store.consents.fold(asConsentId(idOf(20)));
      expect(await store.consents.countSince(session, at)).toBe(4);
      expect(await store.consents.countSince(session, '2026-11-02T00:00:00.000Z')).toBe(0);
      expect(await store.consents.pendingOf(session)).toHaveLength(2);
      expect((await store.consents.overdue('2026-11-01T00:10:00.000Z')).map((one) => one.id)).toEqual([
        idOf(20),
      ]);
      await store.consents.answer(asConsentId(idOf(20)), 'expired');
      expect(await store.consents.list({ pendingOnly: true, limit: 9 })).toHaveLength(1);
      expect(await store.consents.list({ pendingOnly: false, limit: 9 })).toHaveLength(2);
    });

    it('[R6] a consent token is spent once, raced by 100 and after a restart', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      const redeemed = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          store.grants.redeem('one-token', grant(i < 90 ? i + 130 : i + 100, session, idOf(20))),
        ),
      );
      expect(redeemed.filter(Boolean)).toHaveLength(1);
      expect(await store.grants.listOf(session)).toHaveLength(1);
      store = await opened.restart();
      expect(await store.grants.redeem('one-token', grant(250, session, idOf(20)))).toBe(false);
      expect(await store.grants.redeem('another', grant(251, session, idOf(20)))).toBe(true);
    });

    it('[R34] a session begins without a grant, and its end voids those that it had', async () => {
      const session = await started();
      expect(await store.grants.listOf(session)).toEqual([]);
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20)));
      expect(await store.grants.revokeOf(session, at)).toBe(1);
      expect((await store.grants.get(asGrantId(idOf(30))))?.revokedAt).toBe(at);
      expect(await store.grants.revokeOf(session, at)).toBe(0);
    });

    it('a grant of a session or question that does not exist is refused, and its token is not spent', async () => {
      const session = await started();
      await expect(store.grants.redeem('t', grant(30, session, idOf(40)))).rejects.toThrow();
      await store.consents.insert(question(40, session));
      expect(await store.grants.redeem('t', grant(30, session, idOf(40)))).toBe(true);
    });

    const key = (session: SessionId): GrantKey => ({
      sessionId: session,
      user: asUserId('local/1000'),
      scope: 'files:write:/shared/a',
    });

    it('[R37] a once-grant serves one of 100 racing calls, over two replicas, and never again', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20)));
      const uses = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 === 0 ? store : opened.second).grants.use(key(session), at),
        ),
      );
      expect(uses.filter((one) => one !== undefined)).toEqual([
        { ...grant(30, session, idOf(20)), usedAt: at },
      ]);
      store = await opened.restart();
      expect(await store.grants.use(key(session), at)).toBeUndefined();
    });

    it('[R37] two once-grants serve two of 100 racing calls', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20)));
      await store.grants.redeem('u', grant(31, session, idOf(20)));
      const uses = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 === 0 ? store : opened.second).grants.use(key(session), at),
        ),
      );
      const served = uses.flatMap((one) => (one === undefined ? [] : [one.id]));
      expect([...served].sort()).toEqual([idOf(30), idOf(31)].sort());
    });

    it('[R35] a grant serves its session, its user and its scope, and nobody else', async () => {
      const session = await started(1);
      const other = await started(2);
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20), { mode: 'session' }));
      const mine = key(session);
      for (const foreign of [
        { ...mine, sessionId: other },
        { ...mine, user: asUserId('local/1001') },
        { ...mine, scope: 'files:write:/shared/b' },
        { ...mine, scope: 'files:write:/shared/%' },
      ])
        expect(await store.grants.use(foreign, at)).toBeUndefined();
      for (let n = 0; n < 3; n += 1) expect(await store.grants.use(mine, at)).toMatchObject({ id: idOf(30) });
    });

    it('a grant serves no longer than it is good for, nor once it was revoked', async () => {
      const session = await started();
      const expiresAt = '2026-11-01T00:10:00.000Z';
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20), { mode: 'session', expiresAt }));
      expect(await store.grants.use(key(session), '2026-11-01T00:09:59.999Z')).toBeDefined();
      expect(await store.grants.use(key(session), expiresAt)).toBeUndefined();
      await store.grants.redeem('u', grant(31, session, idOf(20), { mode: 'session' }));
      expect(await store.grants.use(key(session), expiresAt)).toBeDefined();
      await store.grants.revokeOf(session, at);
      expect(await store.grants.use(key(session), at)).toBeUndefined();
    });

    it('a grant for the session is used before one that would be used up', async () => {
      const session = await started();
      await store.consents.insert(question(20, session));
      await store.grants.redeem('t', grant(30, session, idOf(20)));
      await store.grants.redeem('u', grant(31, session, idOf(20), { mode: 'session' }));
      expect(await store.grants.use(key(session), at)).toMatchObject({ id: idOf(31) });
      expect((await store.grants.get(asGrantId(idOf(30))))?.usedAt).toBeNull();
    });

    it('of 20 sessions that begin under one name at once one does, over two replicas', async () => {
      const begun = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? store : opened.second).sessions.insert(origin(i + 1, { name: 'same' }), newborn),
        ),
      );
      expect(begun.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const one of begun) {
        if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'GB_INPUT_INVALID' });
      }
    });

    it('a lease is held by one at a time, and free again after its release', async () => {
      const lease = await store.replicas.tryTake('audit-writer');
      expect(lease).toBeDefined();
      expect(await store.replicas.tryTake('audit-writer')).toBeUndefined();
      expect(await opened.second.replicas.tryTake('audit-writer')).toBeUndefined();
      expect(await opened.second.replicas.tryTake('another')).toBeDefined();
      await lease?.release();
      expect(lease?.lost.aborted).toBe(true);
      expect(await opened.second.replicas.tryTake('audit-writer')).toBeDefined();
    });

    it('belongs to the installation that claimed it first', async () => {
      await store.claim('first');
      await store.claim('first');
      store = await opened.restart();
      await expect(store.claim('second')).rejects.toMatchObject({ code: 'GB_STATE_REFUSED' });
      await store.claim('first');
    });

    it('keeps waivers by name', async () => {
      const waiver = { name: 'apparmor', user: 'local/1000', at };
      expect(await store.waivers.add(waiver)).toBe(true);
      expect(await store.waivers.add(waiver)).toBe(false);
      store = await opened.restart();
      expect(await store.waivers.list()).toEqual([waiver]);
      expect(await store.waivers.remove('apparmor')).toBe(true);
      expect(await store.waivers.remove('apparmor')).toBe(false);
    });
  });
}
