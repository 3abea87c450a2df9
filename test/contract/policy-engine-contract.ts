import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SidecarPolicy } from '../../pure/contracts/index.ts';
import { compileCedar } from '../../pure/compile/index.ts';
import { decidePermission, scopeMatches, type PolicyEngine } from '../../pure/policy/index.ts';

export type Prepare = (policy: SidecarPolicy) => PolicyEngine;
export const user = 'local/1000';

let generation = 0;
export const policyOf = (tools: SidecarPolicy['tools']): SidecarPolicy => ({
  generation: (generation += 1),
  cedar: compileCedar(tools),
  tools,
  egress: [],
  placeholders: {},
});

const segment = fc.constantFrom('a', 'b', 'ab', 'a"b', 'ä', '%2A', 'a b', 'a.b', 'axb', '[a]', '$', '{{a}}');
const glob = fc.oneof(
  segment,
  fc.constantFrom('*', 'a*', '*b', 'a*b', '*ä', '*"*', '[*]', '*.b', '$*', '*}}'),
);
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
const patterns = fc.array(pattern, { maxLength: 12 });

/** What every policy engine holds to; whatever prepares one may run it. */
export function policyEngineContract(
  name: string,
  open: () => Promise<Prepare>,
  close: () => Promise<void>,
): void {
  describe(`${name}, as a policy engine`, () => {
    let prepare: Prepare;
    beforeAll(async () => {
      prepare = await open();
    });
    afterAll(close);
    const ask = (tools: SidecarPolicy['tools'], scope: string) =>
      prepare(policyOf(tools)).decide({ sessionId: 's', user, scope });

    it('[R40] decides exactly what the document says, by its first rule that fits', async () => {
      await fc.assert(
        fc.asyncProperty(
          patterns,
          patterns,
          fc.array(scope, { minLength: 5, maxLength: 15 }),
          async (allow, askFor, scopes) => {
            const tools = { allow, ask: askFor };
            const engine = prepare(policyOf(tools));
            for (const one of scopes)
              expect(
                await engine.decide({ sessionId: 's', user, scope: one }),
                `${JSON.stringify(tools)} on ${one}`,
              ).toEqual(decidePermission(tools, (wide) => scopeMatches(wide, one)));
          },
        ),
        { numRuns: 40 },
      );
    });

    it('[R8] denies everything where the policy is empty', async () => {
      expect(await ask({ allow: [], ask: [] }, 'files:read:/a')).toEqual({
        decision: 'deny',
        rule: 'tools.none',
      });
    });

    it('names the first of many rules', async () => {
      const allow = Array.from({ length: 12 }, (_, index) => `files:read:/${index < 2 ? 'x' : 'a'}/**`);
      expect(await ask({ allow, ask: [] }, 'files:read:/a')).toEqual({
        decision: 'allow',
        rule: 'tools.allow.2',
      });
    });

    it.each([
      'files:read',
      'files:read:/**',
      'files:read:/a/../b',
      'files:read:a',
      '',
      'files:read:/a\u202e',
      'x'.repeat(5000),
    ])('[R40] denies a scope that cannot be read: %.40s', async (unreadable) => {
      const tools = { allow: ['files:read:/**', 'files:*'], ask: [] };
      expect(await ask(tools, unreadable)).toEqual({ decision: 'deny', rule: 'scope.unreadable' });
      expect(await ask(tools, 'files:read:/a')).toMatchObject({ decision: 'allow' });
    });

    it('refuses a document that it cannot prepare, and goes on with what it had', async () => {
      const engine = prepare(policyOf({ allow: ['files:read:/**'], ask: [] }));
      expect(() =>
        prepare({
          ...policyOf({ allow: [], ask: [] }),
          tools: { allow: ['files:read:/**/**'], ask: [] },
          cedar: 'permit (',
        }),
      ).toThrow();
      expect(await engine.decide({ sessionId: 's', user, scope: 'files:read:/a' })).toMatchObject({
        decision: 'allow',
      });
    });

    it('decides many at once, each by its own question', async () => {
      const engine = prepare(policyOf({ allow: ['files:read:/a/**'], ask: ['files:read:/b/**'] }));
      const scopes = Array.from(
        { length: 90 },
        (_, index) => `files:read:/${'abc'.charAt(index % 3)}/${String(index)}`,
      );
      const said = await Promise.all(
        scopes.map((one) => engine.decide({ sessionId: 's', user, scope: one })),
      );
      expect(said.map(({ decision }) => decision)).toEqual(
        scopes.map((_, index) => ['allow', 'ask', 'deny'][index % 3]),
      );
    });
  });
}
