import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  asTurnId,
  asUserId,
  consentClaims,
  defaultTrustDomain,
  GloveboxError,
  limits,
  policyDocument,
  spiffeId,
  type ConsentClaims,
  type ConsentQuestion,
} from '../../../pure/contracts/index.ts';
import { newborn } from '../../../pure/session/index.ts';
import { openSqliteStore, type SessionRecord, type Store } from '../../store/index.ts';
import type { AuditEvent } from '../ports.ts';
import { randomIds } from '../random-ids.ts';
import type { ControlWords } from '../sessions/control-channel.ts';
import { ConsentService, type ConsentRequest } from './consent-service.ts';

const alice = asUserId('local/1000');
const bob = asUserId('local/1001');

let folder: string;
let store: Store;
let session: SessionRecord;
let service: ConsentService;
let now: number;
let said: ControlWords[];
let audited: AuditEvent[];
let auditFails: boolean;

// The signer's place: what it signed is the claims themselves, so that a test can see and change each.
const sign = (claims: ConsentClaims): string => JSON.stringify(claims);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-consent-'));
  store = await openSqliteStore(join(folder, 'db'));
  now = Date.parse('2026-11-01T00:00:00.000Z');
  said = [];
  audited = [];
  auditFails = false;
  const turnId = randomIds.turn();
  const { id } = await store.sessions.insert(
    {
      id: randomIds.session(),
      sandboxId: randomIds.sandbox(),
      name: 'work',
      replica: 'one',
      command: ['true'],
      workspace: '/w',
      workspaceMode: 'staged',
      tier: 'standard',
      user: alice,
      preset: null,
      terminal: false,
      createdAt: new Date(now).toISOString(),
      expiresAt: new Date(now + 1e7).toISOString(),
      policy: policyDocument.parse({ version: 1 }),
      secrets: [],
    },
    { ...newborn, state: 'running' },
  );
  await store.sessions.note(id, { turnId });
  session = (await store.sessions.get(id)) ?? expect.fail('no session');
  service = new ConsentService({
    store,
    control: { say: async (_session, words) => void said.push(words) },
    audit: {
      record: async (event) => {
        if (auditFails) throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'down' });
        return audited.push(event);
      },
    },
    signConsent: async (claims) => sign(claims),
    verifyConsent: async (token, expected) => {
      const claims = consentClaims.parse(JSON.parse(token));
      for (const [name, value] of Object.entries(expected)) {
        if (claims[name as keyof ConsentClaims] !== value)
          throw new GloveboxError('GB_TOKEN_INVALID', { detail: name });
      }
      return claims;
    },
    signerId: spiffeId(defaultTrustDomain, { kind: 'signer' }),
    sidecarId: (of) => spiffeId(defaultTrustDomain, { kind: 'sidecar', session: of }),
    onQuestion: () => undefined,
    onError: () => undefined,
    clock: { now: () => now },
    ids: randomIds,
  });
});
afterEach(async () => {
  service.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const request = (more: Partial<ConsentRequest> = {}): ConsentRequest => ({
  scope: 'files:write:/shared/a',
  reason: 'because',
  turnId: session.turnId ?? '',
  operation: 'files.write',
  host: null,
  argsHash: 'ab'.repeat(32),
  argumentsText: '{"path":"/shared/a"}',
  ...more,
});
const asked = async (more: Partial<ConsentRequest> = {}): Promise<ConsentQuestion> => {
  const { id } = await service.ask(session, request(more));
  return (await service.list(true)).find((one) => one.id === id) ?? expect.fail('no question');
};
const tokenOf = (words: ControlWords | undefined): string =>
  words?.type === 'consent' && words.token !== null ? words.token : expect.fail('no token was published');

describe('consent', () => {
  test('[R39] an approval of exactly what was shown makes a token for that session, user, turn and scope', async () => {
    const question = await asked();
    const answer = await service.approve(question.id, question.digest, 'once', alice);
    expect(answer.state).toBe('approved');
    expect(JSON.parse(tokenOf(said[0]))).toMatchObject({
      sub: alice,
      session_id: session.id,
      sandbox_id: session.sandboxId,
      scope: question.scope,
      challenge_id: question.id,
      args_hash: question.argsHash,
      turn_id: session.turnId,
      mode: 'once',
    });
    expect(audited).toEqual([
      expect.objectContaining({ operation: 'consent.answer', decision: 'allow', user: alice }),
    ]);
  });

  test('[R39] an answer to another digest, by another person, or a second one counts for nothing', async () => {
    const question = await asked();
    const other = await asked({ scope: 'files:write:/shared/b' });
    for (const [digest, user, code] of [
      [other.digest, alice, 'GB_INPUT_INVALID'],
      ['', alice, 'GB_INPUT_INVALID'],
      [question.digest, bob, 'GB_CALLER_MISMATCH'],
    ] as const) {
      await expect(service.approve(question.id, digest, 'once', user)).rejects.toMatchObject({ code });
      await expect(service.deny(question.id, digest, user)).rejects.toMatchObject({ code });
    }
    expect(said).toEqual([]);
    await service.approve(question.id, question.digest, 'once', alice);
    await expect(service.approve(question.id, question.digest, 'session', alice)).rejects.toMatchObject({
      code: 'GB_SESSION_STATE',
    });
    expect(said).toHaveLength(1);
  });

  test('[R36] a question of a turn that is not open is not asked', async () => {
    await expect(
      service.ask(session, request({ turnId: asTurnId(randomIds.token()) })),
    ).rejects.toMatchObject({
      code: 'GB_CONSENT_DENIED',
    });
    await expect(service.ask({ ...session, turnId: null }, request())).rejects.toMatchObject({
      code: 'GB_CONSENT_DENIED',
    });
    await expect(service.ask({ ...session, state: 'ended' }, request())).rejects.toMatchObject({
      code: 'GB_SESSION_STATE',
    });
  });

  test('[R42] an approval that cannot be written down is not published, and leaves the question open', async () => {
    const question = await asked();
    auditFails = true;
    await expect(service.approve(question.id, question.digest, 'once', alice)).rejects.toMatchObject({
      code: 'GB_AUDIT_UNAVAILABLE',
    });
    expect(said).toEqual([]);
    expect(await service.list(false)).toMatchObject([{ id: question.id, state: 'pending' }]);
    auditFails = false;
    await service.approve(question.id, question.digest, 'once', alice);
    expect(said).toHaveLength(1);
  });

  test('[R42] of answers that race one counts, and only that one is written down', async () => {
    const question = await asked();
    const approve = async (): Promise<unknown> =>
      await service.approve(question.id, question.digest, 'once', alice);
    const answers = await Promise.allSettled([approve(), approve(), approve()]);
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect([audited.length, said.length]).toEqual([1, 1]);
  });

  test('a denial reaches the agent even where it cannot be written down', async () => {
    const question = await asked();
    auditFails = true;
    await expect(service.deny(question.id, question.digest, alice)).rejects.toMatchObject({
      code: 'GB_AUDIT_UNAVAILABLE',
    });
    expect(said).toEqual([{ type: 'consent', challenge_id: question.id, answer: 'denied', token: null }]);
  });

  test('an answer after its time is a denial', async () => {
    const question = await asked();
    now += limits.consentWait.value;
    await expect(service.approve(question.id, question.digest, 'once', alice)).rejects.toMatchObject({
      code: 'GB_SESSION_STATE',
    });
    expect(said).toEqual([{ type: 'consent', challenge_id: question.id, answer: 'expired', token: null }]);
  });

  test('asking again, in other words, is folded; flooding is refused', async () => {
    const first = await service.ask(session, request());
    for (let i = 0; i < 5; i += 1)
      expect(await service.ask(session, request({ reason: `again ${i}` }))).toEqual(first);
    expect(await service.list(false)).toEqual([expect.objectContaining({ count: 6, reason: 'because' })]);
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 100; i += 1) {
      refused = await service.ask(session, request({ scope: `files:write:/shared/${i}` })).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(refused).toMatchObject({ code: 'GB_LIMIT_REACHED' });
    expect((await service.list(false)).length).toBeLessThanOrEqual(limits.consentPending.value);
  });

  test('[R34] what a person denied is not asked again in that turn, until a while has passed', async () => {
    const first = await asked();
    await service.deny(first.id, first.digest, alice);
    const again = service.ask(session, request({ reason: 'please' }));
    await expect(again).rejects.toMatchObject({ code: 'GB_CONSENT_DENIED' });
    expect(await service.list(false)).toEqual([]);
    // Something else may be asked.
    expect((await asked({ scope: 'files:write:/shared/b' })).state).toBe('pending');
    now += limits.consentDenied.value;
    expect((await asked()).state).toBe('pending');
  });

  test('[R34] a scope that was denied again and again is not asked for with other arguments', async () => {
    const argsHash = (index: number): string => String(index).repeat(64);
    for (let index = 0; index < limits.consentScopeDenials.value; index += 1) {
      const question = await asked({ argsHash: argsHash(index) });
      await service.deny(question.id, question.digest, alice);
    }
    await expect(service.ask(session, request({ argsHash: argsHash(9) }))).rejects.toMatchObject({
      code: 'GB_CONSENT_DENIED',
    });
    // The person's next turn brings the question back.
    const turnId = randomIds.turn();
    await store.sessions.note(session.id, { turnId });
    session = (await store.sessions.get(session.id)) ?? expect.fail('no session');
    expect((await asked({ argsHash: argsHash(9) })).state).toBe('pending');
  });

  test('[R34] one scope is asked for only so often a minute, whatever the arguments', async () => {
    const ask = async (index: number) =>
      service.ask(session, request({ argsHash: `${index}`.padStart(64, '0') }));
    for (let index = 0; index < limits.consentScopeRate.value; index += 1) await ask(index);
    await expect(ask(99)).rejects.toMatchObject({ code: 'GB_LIMIT_REACHED' });
    // Another scope has its own share, and so has the next minute.
    expect((await asked({ scope: 'files:write:/shared/b' })).state).toBe('pending');
    now += 60_000;
    expect((await ask(99)).id).not.toBe('');
  });

  test('[R37] of 100 racing uses of a token one makes a grant', async () => {
    const question = await asked();
    await service.approve(question.id, question.digest, 'once', alice);
    const token = tokenOf(said[0]);
    const uses = await Promise.allSettled(Array.from({ length: 100 }, () => service.consume(session, token)));
    expect(uses.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    const lost = uses.flatMap((one) =>
      one.status === 'rejected' ? [(one.reason as GloveboxError).code] : [],
    );
    expect(new Set(lost)).toEqual(new Set(['GB_TOKEN_REPLAYED']));
    expect(await store.grants.listOf(session.id)).toHaveLength(1);
  });

  test('[R34] a policy that leaves a scope to nobody ends its open questions and its grants, and only those', async () => {
    const ask = async (scope: string, argsHash = 'a'.repeat(64)) =>
      await service.ask(session, request({ scope, argsHash }));
    for (const scope of ['files:write:/kept', 'files:write:/gone']) {
      const { id, digest } = await ask(scope);
      await service.approve(id, digest, 'session', alice);
      await service.consume(session, tokenOf(said.at(-1)));
    }
    const kept = await ask('files:write:/kept', 'b'.repeat(64));
    const gone = await ask('files:write:/gone', 'b'.repeat(64));
    await service.narrow(session.id, (scope) => !scope.includes('gone'));
    expect((await service.list(false)).map(({ id }) => id)).toEqual([kept.id]);
    expect(said.at(-1)).toMatchObject({ type: 'consent', challenge_id: gone.id, answer: 'denied' });
    const grants = await store.grants.listOf(session.id);
    expect(new Map(grants.map(({ scope, revokedAt }) => [scope, revokedAt === null]))).toEqual(
      new Map([
        ['files:write:/kept', true],
        ['files:write:/gone', false],
      ]),
    );
  });

  test('[R37] a token whose question was never approved so makes none, each claim by itself', async () => {
    const question = await asked();
    await service.approve(question.id, question.digest, 'once', alice);
    const good = consentClaims.parse(JSON.parse(tokenOf(said[0])));
    const pending = await asked({ scope: 'files:write:/shared/b' });
    const wrong: Partial<ConsentClaims>[] = [
      { scope: 'files:write:/**' },
      { args_hash: 'cd'.repeat(32) },
      { turn_id: randomIds.token() },
      { digest: pending.digest },
      { challenge_id: pending.id },
      { challenge_id: randomIds.token() },
      { session_id: randomIds.token() },
      { sandbox_id: randomIds.token() },
      { sub: bob },
      { aud: spiffeId(defaultTrustDomain, { kind: 'sidecar', session: randomIds.session() }) },
      { iss: spiffeId(defaultTrustDomain, { kind: 'secret-broker' }) },
    ];
    for (const change of wrong) {
      await expect(
        service.consume(session, sign({ ...good, ...change })),
        JSON.stringify(change),
      ).rejects.toThrow();
    }
    expect(await store.grants.listOf(session.id)).toEqual([]);
    await expect(service.consume(session, sign(good))).resolves.toMatchObject({
      grantId: expect.any(String),
    });
  });

  test('the end of a session voids its questions and its grants', async () => {
    const question = await asked();
    await service.approve(question.id, question.digest, 'session', alice);
    await service.consume(session, tokenOf(said[0]));
    const open = await asked({ scope: 'files:write:/shared/b' });
    await service.endOf(session.id);
    expect((await service.list(true)).find((one) => one.id === open.id)?.state).toBe('expired');
    expect((await store.grants.listOf(session.id)).every((grant) => grant.revokedAt !== null)).toBe(true);
  });
});

describe('a question that its session takes back', () => {
  test('[R2] is denied, said and written down; another session’s, or one that is answered, is not', async () => {
    const { id } = await service.ask(session, request());
    const other = { ...session, id: randomIds.session() };
    expect(await service.cancel(other, id)).toEqual({ cancelled: false });
    expect(await service.cancel(session, 'no id')).toEqual({ cancelled: false });
    expect(await service.cancel(session, id)).toEqual({ cancelled: true });
    expect(said.at(-1)).toMatchObject({ type: 'consent', challenge_id: id, answer: 'denied', token: null });
    expect(audited.at(-1)).toMatchObject({ rule: 'consent.cancelled', decision: 'deny', user: null });
    expect(await service.cancel(session, id)).toEqual({ cancelled: false });
    const asked = await service.ask(session, request({ scope: 'files:write:/shared/b' }));
    await service.approve(asked.id, asked.digest, 'once', alice);
    expect(await service.cancel(session, asked.id)).toEqual({ cancelled: false });
  });
});
