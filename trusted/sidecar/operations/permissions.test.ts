import { generateKeyPairSync } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  asUserId,
  defaultTrustDomain,
  GloveboxError,
  spiffeId,
  type ConsentClaims,
  type UserId,
} from '../../../pure/contracts/index.ts';
import { verdictOfScope } from '../../../pure/compile/index.ts';
import { Grants } from '../grants.ts';
import {
  alice,
  nextId,
  openTurns,
  sandbox,
  self,
  session,
  testRuntime,
  testSigner,
  testTrail,
  turn,
  type TestRuntime,
  type TestSigner,
} from '../testing.ts';
import type { Stamp, Turns } from '../turns.ts';
import { argumentsHash } from './operations.ts';
import { Permissions, type ConsentOrder, type PermissionAnswer } from './permissions.ts';

const scope = 'files:write:/shared/a';
const hash = argumentsHash({});
let tools: { allow: string[]; ask: string[] };
let runtime: TestRuntime;
let signer: TestSigner;
let turns: Turns;
let grants: Grants;
let orders: ConsentOrder[];
let consumed: string[];
let challenge: string;
let cancel: (id: string) => boolean;
let permissions: Permissions;

/** As what comes now is stamped, of this person. */
const stampOf = (user: UserId): Stamp => ({ turnId: turn, user, mayUseGrants: true });

beforeEach(async () => {
  cancel = () => false;
  tools = { allow: [], ask: ['files:write:/shared/**'] };
  runtime = testRuntime();
  signer = await testSigner();
  turns = openTurns();
  grants = new Grants({ onceOnly: () => turns.onceOnly, use: () => Promise.resolve(true) });
  orders = [];
  consumed = [];
  challenge = nextId();
  permissions = new Permissions({
    session,
    sandbox,
    self,
    trustDomain: defaultTrustDomain,
    turns,
    grants,
    trail: testTrail(runtime).trail,
    policy: { verdictOf: (wanted) => verdictOfScope({ tools, egress: [] }, wanted) },
    requestConsent: (order) => {
      orders.push(order);
      return Promise.resolve({
        id: challenge,
        expiresAt: new Date(runtime.time + 300_000).toISOString(),
        digest: 'shown',
      });
    },
    cancelConsent: (id) => Promise.resolve(cancel(id)),
    consumeConsent: (token) => {
      if (consumed.includes(token)) return Promise.reject(new GloveboxError('GB_TOKEN_REPLAYED'));
      consumed.push(token);
      return Promise.resolve(nextId());
    },
    verifyConsent: (token, expected, now) => signer.verifier.consent(token, expected, now),
    runtime,
  });
});

const claims = (other: Partial<ConsentClaims> = {}): ConsentClaims => ({
  iss: spiffeId(defaultTrustDomain, { kind: 'signer' }),
  aud: self,
  sub: alice,
  session_id: session,
  sandbox_id: sandbox,
  scope,
  challenge_id: challenge,
  args_hash: hash,
  turn_id: turn,
  mode: 'once',
  digest: 'shown',
  jti: nextId(),
  iat: runtime.time / 1000,
  exp: runtime.time / 1000 + 300,
  ...other,
});

async function answered(
  token: string,
  request: { scope: string; reason: string; arguments?: Record<string, unknown> } = { scope, reason: '' },
): Promise<PermissionAnswer> {
  const answer = permissions.request(request);
  const words = { session_id: session, seq: 1, iat: 1 } as const;
  permissions.heed({ ...words, type: 'consent', challenge_id: challenge, answer: 'approved', token });
  return await answer;
}

describe('a consent token', () => {
  it('[R37] with every claim right is a grant, consumed at the control plane', async () => {
    const token = await signer.sign('consent', claims());
    expect(await answered(token)).toMatchObject({ granted: true, mode: 'once' });
    expect(consumed).toEqual([token]);
    expect(await grants.take(stampOf(alice), scope, hash)).not.toBeNull();
    expect(await grants.take(stampOf(alice), scope, hash)).toBeNull();
  });

  it('[R34] for what the policy no longer leaves to a person, since it was asked, is no grant', async () => {
    const token = await signer.sign('consent', claims());
    const answer = permissions.request({ scope, reason: '' });
    tools = { allow: [], ask: ['files:write:/elsewhere/**'] };
    const words = { session_id: session, seq: 1, iat: 1 } as const;
    permissions.heed({ ...words, type: 'consent', challenge_id: challenge, answer: 'approved', token });
    expect(await answer).toMatchObject({ granted: false });
    expect(grants.has(alice, scope, hash)).toBe(false);
  });

  const other = {
    iss: spiffeId(defaultTrustDomain, { kind: 'secret-broker' }),
    aud: spiffeId(defaultTrustDomain, { kind: 'sidecar', session: nextId() as typeof session }),
    sub: 'local/2000',
    session_id: nextId(),
    sandbox_id: nextId(),
    scope: 'files:write:/shared/b',
    challenge_id: nextId(),
    args_hash: '0'.repeat(64),
    turn_id: nextId(),
    digest: 'other',
  } as const;
  it.each(Object.entries(other))('[R37] with another %s is refused', async (name, value) => {
    expect(await answered(await signer.sign('consent', claims({ [name]: value })))).toMatchObject({
      granted: false,
    });
    expect(consumed).toEqual([]);
    expect(grants.has(alice, scope, hash)).toBe(false);
  });

  const times: [string, () => Partial<ConsentClaims>][] = [
    ['that has expired', () => ({ iat: runtime.time / 1000 - 300, exp: runtime.time / 1000 })],
    ['that lives longer than 5 minutes', () => ({ exp: runtime.time / 1000 + 301 })],
    ['of the future', () => ({ iat: runtime.time / 1000 + 3600, exp: runtime.time / 1000 + 3700 })],
  ];
  it.each(times)('[R37] %s is refused', async (_what, change) => {
    expect(await answered(await signer.sign('consent', claims(change())))).toMatchObject({ granted: false });
  });

  it.each([
    'iss',
    'aud',
    'sub',
    'session_id',
    'sandbox_id',
    'scope',
    'challenge_id',
    'args_hash',
    'turn_id',
    'mode',
    'digest',
    'jti',
    'iat',
    'exp',
  ])('[R37] without %s is refused', async (name) => {
    const { [name as keyof ConsentClaims]: _, ...rest } = claims();
    expect(await answered(await signer.sign('consent', rest))).toMatchObject({ granted: false });
  });

  it('[R37] of another purpose, type or key is refused', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    for (const token of [
      await signer.sign('control', claims()),
      await signer.sign('control', claims(), { typ: 'glovebox-consent+jwt' }),
      await signer.sign('consent', claims(), { typ: 'JWT' }),
      await signer.sign('consent', claims(), { key: privateKey }),
      await signer.sign('consent', claims(), { kid: 'consent.2' }),
      `${Buffer.from('{"alg":"none","typ":"glovebox-consent+jwt"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims())).toString('base64url')}.`,
    ]) {
      expect(await answered(token)).toMatchObject({ granted: false });
    }
  });

  it('[R6] that was used is refused', async () => {
    const token = await signer.sign('consent', claims());
    expect(await answered(token)).toMatchObject({ granted: true });
    await grants.take(stampOf(alice), scope, hash);
    expect(await answered(token)).toMatchObject({ granted: false });
    expect(grants.has(alice, scope, hash)).toBe(false);
  });

  it('[R39] for arguments that were shown is for those alone', async () => {
    const args = { path: '/shared/a', content: 'x' };
    const token = await signer.sign('consent', claims({ args_hash: argumentsHash(args) }));
    expect(await answered(token, { scope, reason: '', arguments: args })).toMatchObject({ granted: true });
    expect(await grants.take(stampOf(alice), scope, argumentsHash({ ...args, content: 'y' }))).toBeNull();
    expect(await grants.take(stampOf(alice), scope, argumentsHash(args))).not.toBeNull();
  });
});

describe('a question', () => {
  it('[R36] is of the open turn; without one it is not asked', async () => {
    const token = await signer.sign('consent', claims());
    await answered(token);
    expect(orders[0]).toMatchObject({ turnId: turn, scope, argsHash: hash });
    turns.close(turn);
    await expect(permissions.request({ scope: 'files:write:/shared/c', reason: '' })).rejects.toThrow(
      'GB_POLICY_DENIED',
    );
    expect(orders).toHaveLength(1);
  });

  it('is answered also where the answer comes before its receipt', async () => {
    const token = await signer.sign('consent', claims());
    permissions.heed({
      session_id: session,
      seq: 1,
      iat: 1,
      type: 'consent',
      challenge_id: challenge,
      answer: 'approved',
      token,
    });
    expect(await permissions.request({ scope, reason: '' })).toMatchObject({ granted: true });
  });

  it('asked twice waits for one answer, which is one grant', async () => {
    const both = [
      permissions.request({ scope, reason: '' }),
      permissions.request({ scope, reason: 'please' }),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    const token = await signer.sign('consent', claims());
    permissions.heed({
      session_id: session,
      seq: 1,
      iat: 1,
      type: 'consent',
      challenge_id: challenge,
      answer: 'approved',
      token,
    });
    expect((await Promise.all(both)).map(({ granted }) => granted)).toEqual([true, true]);
    expect(consumed).toHaveLength(1);
  });

  it('that nobody answers is denied', async () => {
    const answer = permissions.request({ scope, reason: '' });
    await new Promise((resolve) => setImmediate(resolve));
    runtime.pass(310_000);
    expect(await answer).toMatchObject({ granted: false, detail: 'nobody answered in time' });
  });

  it('[R36] with several participants a grant for the session is used up by one call', async () => {
    const bob = asUserId('local/2000');
    await answered(await signer.sign('consent', claims({ mode: 'session' })));
    expect(await grants.take(stampOf(alice), scope, hash)).not.toBeNull();
    expect(await grants.take(stampOf(alice), scope, hash)).not.toBeNull();
    turns.open(nextId(), bob);
    expect(await grants.take(stampOf(bob), scope, hash)).toBeNull();
    turns.open(nextId(), alice);
    expect(await grants.take(stampOf(alice), scope, hash)).not.toBeNull();
    expect(await grants.take(stampOf(alice), scope, hash)).toBeNull();
  });
});

describe('a question that is not waited for', () => {
  const words = { session_id: session, seq: 1, iat: 1, type: 'consent' } as const;
  /** Until what was heeded is settled: the status is what an agent would ask for again and again. */
  const settled = async (): Promise<PermissionAnswer> => {
    for (;;) {
      const now = permissions.status(challenge);
      if (now.state !== 'pending') return now;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  it('[R39] is pending until it is answered, and tells whoever asks for it later', async () => {
    const first = await permissions.request({ scope, reason: '' }, undefined, false);
    expect(first).toMatchObject({ id: challenge, state: 'pending', granted: false });
    expect(permissions.status(challenge)).toEqual(first);
    expect(grants.has(alice, scope, hash)).toBe(false);
    const token = await signer.sign('consent', claims());
    permissions.heed({ ...words, challenge_id: challenge, answer: 'approved', token });
    expect(await settled()).toMatchObject({ id: challenge, state: 'granted', granted: true, mode: 'once' });
    expect(await grants.take(stampOf(alice), scope, hash)).not.toBeNull();
    expect(() => permissions.status(nextId())).toThrow('GB_NOT_FOUND');
  });

  it('can be taken back; an answer that is there stands', async () => {
    await permissions.request({ scope, reason: '' }, undefined, false);
    cancel = (id) => {
      permissions.heed({ ...words, challenge_id: id, answer: 'denied', token: null });
      return true;
    };
    expect(await permissions.cancel(challenge)).toMatchObject({ state: 'refused', granted: false });
    expect(await permissions.cancel(challenge)).toMatchObject({ state: 'refused' });
    cancel = () => false;
    challenge = nextId();
    await permissions.request({ scope, reason: '' }, undefined, false);
    expect(await permissions.cancel(challenge)).toMatchObject({ state: 'pending' });
    const token = await signer.sign('consent', claims());
    permissions.heed({ ...words, challenge_id: challenge, answer: 'approved', token });
    expect(await settled()).toMatchObject({ state: 'granted' });
    await expect(permissions.cancel(nextId())).rejects.toThrow('GB_NOT_FOUND');
  });
});
