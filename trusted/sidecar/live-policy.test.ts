import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asGrantId, type SidecarPolicy } from '../../pure/contracts/index.ts';
import { compileCedar } from '../../pure/compile/index.ts';
import { Grants } from './grants.ts';
import { LivePolicy } from './live-policy.ts';
import type { PrepareEngine } from './live-policy.ts';
import { engineOf } from './operations/engine-of.ts';
import { alice, nextId, session } from './testing.ts';

// Names of prepared policies are of the process: each test has generations of its own.
let base = 1000;
let cedar: PrepareEngine;
let grants: Grants;
beforeAll(async () => {
  cedar = await engineOf(undefined);
});
beforeEach(() => {
  base += 10;
  grants = new Grants({ onceOnly: () => false, use: () => Promise.resolve(true) });
});

const policyOf = (generation: number, allow: string[], ask: string[] = []): SidecarPolicy => ({
  generation: base + generation,
  cedar: compileCedar({ allow, ask }),
  tools: { allow, ask },
  egress: [],
  placeholders: {},
});
const decided = async (policy: LivePolicy, scope: string): Promise<string> =>
  (await policy.decide({ sessionId: session, user: alice, scope })).decision;
const grant = (scope: string): void =>
  grants.add({ id: asGrantId(nextId()), user: alice, scope, mode: 'session', argsHash: null });
const holds = (scope: string): boolean => grants.has(alice, scope, '');

describe('a policy that changes while a session runs', () => {
  it('takes effect as a whole: engine, tools and scopes', async () => {
    const policy = new LivePolicy(policyOf(1, ['files:read:/**'], ['files:write:/**']), cedar);
    expect(await decided(policy, 'files:read:/a')).toBe('allow');
    expect(policy.apply(policyOf(2, [], ['files:read:/a']), grants)).toBe(true);
    expect(policy.tools).toEqual({ allow: [], ask: ['files:read:/a'] });
    expect(await decided(policy, 'files:read:/a')).toBe('ask');
    expect(await decided(policy, 'files:read:/b')).toBe('deny');
    expect(policy.verdictOf('files:write:/a')).toMatchObject({ decision: 'deny' });
    expect(policy.verdictOf('files:read:/a')).toMatchObject({ decision: 'ask' });
  });

  it('is not brought back by an older generation, nor changed by another of the same number', async () => {
    const policy = new LivePolicy(policyOf(1, ['files:read:/**']), cedar);
    policy.apply(policyOf(3, []), grants);
    expect(policy.apply(policyOf(2, ['files:read:/**']), grants)).toBe(false);
    expect(policy.apply(policyOf(3, ['files:read:/**']), grants)).toBe(false);
    expect(await decided(policy, 'files:read:/a')).toBe('deny');
    expect(policy.apply(policyOf(4, ['files:read:/**']), grants)).toBe(true);
    expect(await decided(policy, 'files:read:/a')).toBe('allow');
  });

  it('[R35] voids the grants that it no longer leaves to a person, also when it is widened again', () => {
    const policy = new LivePolicy(policyOf(1, [], ['files:write:/**']), cedar);
    for (const scope of ['files:write:/a', 'files:write:/kept/**', 'files:write:/**']) grant(scope);
    policy.apply(policyOf(2, ['files:write:/a'], ['files:write:/kept/**']), grants);
    expect(['files:write:/a', 'files:write:/kept/x', 'files:write:/other'].map(holds)).toEqual([
      true,
      true,
      false,
    ]);
    policy.apply(policyOf(3, [], []), grants);
    policy.apply(policyOf(4, [], ['files:write:/**']), grants);
    expect(['files:write:/a', 'files:write:/kept/x'].map(holds)).toEqual([false, false]);
  });

  it('that cannot be prepared changes nothing, and says so', async () => {
    const policy = new LivePolicy(policyOf(1, ['files:read:/**']), cedar);
    expect(() => policy.apply({ ...policyOf(2, []), cedar: 'permit (' }, grants)).toThrow();
    expect(policy.generation).toBe(base + 1);
    expect(await decided(policy, 'files:read:/a')).toBe('allow');
  });
});
