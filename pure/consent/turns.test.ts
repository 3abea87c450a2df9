import { describe, expect, it } from 'vitest';
import { asUserId, encodeId, asTurnId } from '../contracts/index.ts';
import { grantState } from './grant-state.ts';
import { closeTurn, expireTurn, noTurns, openTurn, stampOf, type Turn } from './turns.ts';

const alice = asUserId('local/1000');
const bob = asUserId('local/1001');
const turn = (n: number, user = alice): Turn => ({
  turnId: asTurnId(encodeId(new Uint8Array(16).fill(n))),
  user,
  token: `token-${n}`,
  expiresAt: 1000 * n,
  onceOnly: false,
});
const nothing = { by: 'nothing' } as const;
const token = (n: number) => ({ by: 'token', token: `token-${n}` }) as const;

describe('turns', () => {
  it('[R36] opening one ends the one before; no open turn is nobody’s', () => {
    expect(stampOf(noTurns, nothing)).toBeNull();
    const one = openTurn(noTurns, turn(1), 9);
    expect(stampOf(one, nothing)).toEqual({ turnId: turn(1).turnId, user: alice, mayUseGrants: true });
    const two = openTurn(one, turn(2, bob), 9);
    expect(stampOf(two, nothing)).toMatchObject({ user: bob, mayUseGrants: true });
    expect(closeTurn(two, turn(1).turnId, 9)).toBe(two);
    expect(stampOf(closeTurn(two, turn(2).turnId, 9), nothing)).toBeNull();
  });

  it('[R36] a token only narrows: an earlier turn’s has no grant, and none at all where no turn is open', () => {
    const two = openTurn(openTurn(noTurns, turn(1), 9), turn(2, bob), 9);
    expect(stampOf(two, token(1))).toEqual({ turnId: turn(1).turnId, user: alice, mayUseGrants: false });
    expect(stampOf(two, token(2))).toMatchObject({ user: bob, mayUseGrants: true });
    expect(stampOf(two, token(3))).toBe('unknown');
    const none = closeTurn(two, turn(2).turnId, 9);
    for (const named of [token(1), token(2)]) expect(stampOf(none, named)).toBeNull();
    // An id that was there before opens nothing again, however often it is said.
    expect(openTurn(none, turn(1), 9)).toBe(none);
    expect(stampOf(openTurn(none, turn(3, alice), 9), token(1))).toMatchObject({ mayUseGrants: false });
  });

  it('[R36] a conversation is its person’s: in another’s turn it is theirs still, without a grant', () => {
    const hers = { by: 'conversation', user: alice, turnId: turn(1).turnId } as const;
    const two = openTurn(openTurn(noTurns, turn(1), 9), turn(2, bob), 9);
    expect(stampOf(two, hers)).toEqual({ turnId: turn(1).turnId, user: alice, mayUseGrants: false });
    const three = openTurn(two, turn(3), 9);
    expect(stampOf(three, hers)).toEqual({ turnId: turn(3).turnId, user: alice, mayUseGrants: true });
    expect(stampOf(closeTurn(three, turn(3).turnId, 9), hers)).toBeNull();
  });

  it('[R36] a turn whose time is over stays so, when the clock is set back too', () => {
    const one = openTurn(noTurns, turn(1), 9);
    expect(stampOf(expireTurn(one, 999, 9), nothing)).not.toBeNull();
    const over = expireTurn(one, 1000, 9);
    expect(stampOf(over, nothing)).toBeNull();
    expect(stampOf(expireTurn(over, 0, 9), nothing)).toBeNull();
  });

  it('only so many are remembered, the newest', () => {
    let state = noTurns;
    for (let n = 1; n <= 5; n += 1) state = openTurn(state, turn(n), 2);
    expect(state.past.map((one) => one.token)).toEqual(['token-3', 'token-4']);
    expect(stampOf(state, token(1))).toBe('unknown');
  });
});

it('a grant says why it serves no more', () => {
  const now = '2026-11-01T00:00:00.000Z';
  const open = { revokedAt: null, usedAt: null, expiresAt: '2026-11-01T00:00:00.001Z' };
  expect(grantState(open, now)).toBe('open');
  expect(grantState({ ...open, expiresAt: null }, now)).toBe('open');
  expect(grantState({ ...open, expiresAt: now }, now)).toBe('expired');
  expect(grantState({ ...open, usedAt: now }, now)).toBe('used');
  expect(grantState({ ...open, usedAt: now, revokedAt: now }, now)).toBe('revoked');
});
