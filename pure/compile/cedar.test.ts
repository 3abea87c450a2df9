import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import { scopeMatches } from '../policy/index.ts';
import { cedarRequest, compileCedar } from './cedar.ts';

const user = 'local/1000';

function engine(tools: { allow: string[]; ask: string[] }): (scope: string, granted: boolean) => boolean {
  const id = `t${Math.random()}`;
  expect(preparsePolicySet(id, { staticPolicies: compileCedar(tools) })).toEqual({ type: 'success' });
  return (scope, granted) => {
    const request = cedarRequest({ sessionId: 's', user, scope }, granted);
    if (request === undefined) return false;
    const answer = statefulIsAuthorized({ ...request, preparsedPolicySetId: id });
    if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
    expect(answer.response.diagnostics.errors).toEqual([]);
    return answer.response.decision === 'allow';
  };
}

const segment = fc.constantFrom('a', 'b', 'ab', 'a"b', 'ä', '%2A', 'a b', '..a');
const glob = fc.oneof(segment, fc.constantFrom('*', 'a*', '*b', 'a*b', '*ä', '*"*'));
const scope = fc
  .tuple(
    fc.constantFrom('files', 'docs'),
    fc.constantFrom('read', 'write'),
    fc.array(segment, { maxLength: 4 }),
  )
  .map(([domain, verb, path]) => `${domain}:${verb}:/${path.join('/')}`);
const pattern = fc
  .tuple(
    fc.constantFrom('files', 'docs'),
    fc.constantFrom('read', 'write', '*'),
    fc.option(
      fc
        .tuple(fc.array(glob, { maxLength: 3 }), fc.boolean(), fc.array(glob, { maxLength: 2 }))
        .map(([before, deep, after]) => `:/${[...before, ...(deep ? ['**', ...after] : [])].join('/')}`),
      { nil: '' },
    ),
  )
  .map(([domain, verb, path]) => `${domain}:${verb}${path}`);

describe('cedar text of a session', () => {
  it('[R40] permits exactly what the scope patterns take in', () => {
    fc.assert(
      fc.property(
        fc.array(pattern, { minLength: 1, maxLength: 3 }),
        fc.array(scope, { minLength: 5, maxLength: 20 }),
        (patterns, scopes) => {
          const permits = engine({ allow: patterns, ask: [] });
          for (const one of scopes) {
            expect(permits(one, false), `${patterns.join(' ')} on ${one}`).toBe(
              patterns.some((p) => scopeMatches(p, one)),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('[R34] permits what needs consent with a grant only', () => {
    const permits = engine({ allow: [], ask: ['files:write:/shared/**'] });
    expect(permits('files:write:/shared/a', false)).toBe(false);
    expect(permits('files:write:/shared/a', true)).toBe(true);
    expect(permits('files:write:/other/a', true)).toBe(false);
  });

  it('[R8] permits nothing when it is empty', () => {
    const permits = engine({ allow: [], ask: [] });
    expect(permits('files:read:/', true)).toBe(false);
  });

  it('refuses a pattern that cannot be read', () => {
    expect(() => compileCedar({ allow: ['files:read:/**/**'], ask: [] })).toThrow('GB_INPUT_INVALID');
    expect(() => compileCedar({ allow: ['files:read:/**'], ask: [] })).not.toThrow();
  });
});
