import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isAuthorized, policySetTextToParts, validate } from '@cedar-policy/cedar-wasm/nodejs';
import { toolDefinitions, toolScope } from '../contracts/index.ts';
import { cedarRequest, cedarSchema, compileCedar } from './index.ts';

const file = fileURLToPath(new URL('../../deploy/cedar/glovebox.cedarschema', import.meta.url));

const errorsOf = (text: string): string[] => {
  const parts = policySetTextToParts(text);
  if (parts.type !== 'success') throw new Error('not Cedar');
  const staticPolicies = Object.fromEntries(parts.policies.map((policy, index) => [`p${index}`, policy]));
  const answer = validate({ schema: cedarSchema(), policies: { staticPolicies } });
  if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
  return answer.validationErrors.map(({ error }) => error.message);
};

describe('the Cedar schema', () => {
  it('is the one in deploy/cedar', () => {
    expect(readFileSync(file, 'utf8')).toBe(cedarSchema());
  });

  it('[R40] is kept by every policy that is compiled, of the deepest pattern too', () => {
    const deep = `files:read:/${'a/'.repeat(100)}**/b*/c`;
    const allow = ['files:read:/**', 'files:*:/a/*', 'files:write', deep, 'files:read:/**/*.md'];
    expect(errorsOf(compileCedar({ allow, ask: ['files:write:/shared/**'] }))).toEqual([]);
  });

  it('finds what is not of it', () => {
    const wrong = (when: string) =>
      errorsOf(`permit (principal, action == Action::"call", resource) when { ${when} };`);
    expect(wrong('context.verbs == "read"')).toHaveLength(1);
    expect(wrong('context.s0 == "a"')).toHaveLength(1);
    expect(wrong('context.depth == "1"')).toHaveLength(1);
    expect(wrong('resource == Operation::"files:reed"')).toHaveLength(1);
    expect(wrong('resource == Operation::"files:read" && context has s0 && context.s0 == "a"')).toEqual([]);
  });

  it('is kept by the request of every tool', () => {
    for (const tool of toolDefinitions) {
      const scope = toolScope(tool, { path: '/a/b' });
      const request = cedarRequest({ sessionId: 's', user: 'local/1', scope }, false);
      if (request === undefined) throw new Error(scope);
      const policies = { staticPolicies: { p: 'permit (principal, action, resource);' } };
      const answer = isAuthorized({ ...request, policies, schema: cedarSchema(), validateRequest: true });
      expect(answer).toMatchObject({ type: 'success', response: { decision: 'allow' } });
    }
  });
});
