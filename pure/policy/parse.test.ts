import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GloveboxError } from '../contracts/index.ts';
import { parsePolicy, parsePreset } from './index.ts';

const errorOf = (text: string): GloveboxError => {
  try {
    parsePolicy(text, 'p.yaml');
  } catch (error) {
    if (error instanceof GloveboxError) return error;
    throw error;
  }
  throw new Error('the policy was accepted');
};

describe('a policy document', () => {
  it('is accepted in its smallest form and denies all', () => {
    const policy = parsePolicy('version: 1\n', 'p.yaml');
    expect(policy.egress).toEqual([]);
    expect(policy.tools).toEqual({ allow: [], ask: [] });
    expect(policy.workspace.mode).toBe('staged');
  });
  it('names an unknown key with its place and the nearest known key', () => {
    const error = errorOf('version: 1\ntools:\n  alow: [files:read:/shared/**]\n');
    expect(error.what).toBe('p.yaml:3:3: unknown key "alow"');
    expect(error.todo).toBe('Did you mean "allow"?');
  });
  it('names an unknown key inside a list', () => {
    const error = errorOf('version: 1\negress:\n  - host: a.example\n    method: [GET]\n');
    expect(error.what).toBe('p.yaml:4:5: unknown key "method"');
    expect(error.todo).toBe('Did you mean "methods"?');
  });
  it('names the place of a wrong value', () => {
    expect(errorOf('version: 1\negress:\n  - host: "A.example"\n').what).toContain(
      'p.yaml:3:11: egress.0.host',
    );
  });
  it.each([
    ['duplicate keys', 'version: 1\nversion: 1\n'],
    ['an alias', 'version: 1\nenv: {A: &x b, C: *x}\n'],
    ['a tag', 'version: 1\nttl: !!js/function x\n'],
    ['two documents', 'version: 1\n---\nversion: 1\n'],
    ['a list of methods that is empty', 'version: 1\negress: [{host: a.example, methods: []}]\n'],
    ['a prototype key', 'version: 1\n__proto__: {tier: pro}\n'],
    ['a scalar', 'yes'],
    ['nothing at all', ''],
    ['a document over the limit', `version: 1\n#${'x'.repeat(300_000)}`],
  ])('is refused with %s', (_, text) => {
    expect(errorOf(text).code).toBe('GB_POLICY_INVALID');
  });
  it('is parsed or refused with a place, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((s) => `version: 1\n${s}`),
        ),
        (text) => {
          try {
            parsePolicy(text, 'f');
          } catch (error) {
            expect(error).toBeInstanceOf(GloveboxError);
            expect((error as GloveboxError).code).toBe('GB_POLICY_INVALID');
            expect((error as GloveboxError).what).toMatch(/^f:[1-9][0-9]*:[1-9][0-9]*: /);
          }
        },
      ),
    );
  });
  it('may be a part of a preset', () => {
    const preset = parsePreset('name: x\ntitle: X\ncommand: [x]\npolicy: {version: 1}\n', 'x.yaml');
    expect(preset.policy.tier).toBe('standard');
  });
});
