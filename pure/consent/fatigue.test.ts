import { describe, expect, it } from 'vitest';
import { limits } from '../contracts/index.ts';
import { deniedBefore, isAlike, remembered, type Denial } from './fatigue.ts';

const asked = { scope: 'files:write:/a', operation: 'files.write', host: null, argsHash: 'h', turnId: 't' };
const denial = (more: Partial<Denial> = {}): Denial => ({ ...asked, at: 1000, ...more });
const soon = 1000 + limits.consentDenied.value - 1;

describe('what a person denied', () => {
  it.each(['scope', 'operation', 'host', 'argsHash', 'turnId'] as const)(
    'is another question with another %s',
    (key) => {
      expect(isAlike(asked, { ...asked })).toBe(true);
      expect(isAlike(asked, { ...asked, [key]: 'other' })).toBe(false);
    },
  );

  it('is not asked again for a while', () => {
    expect(deniedBefore([], asked, soon)).toBeNull();
    expect(deniedBefore([denial()], asked, soon)).toContain('exactly this');
    expect(deniedBefore([denial()], asked, soon + 1)).toBeNull();
  });

  it('may be asked again in a person’s next turn', () => {
    expect(deniedBefore([denial()], { ...asked, turnId: 'next' }, soon)).toBeNull();
  });

  it('is not asked again with ever new arguments', () => {
    const denials = Array.from({ length: limits.consentScopeDenials.value }, (_, index) =>
      denial({ argsHash: `h${String(index)}` }),
    );
    expect(deniedBefore(denials, asked, soon)).toContain(`${String(denials.length)} times`);
    expect(deniedBefore(denials.slice(1), asked, soon)).toBeNull();
    expect(deniedBefore(denials, { ...asked, scope: 'files:write:/b' }, soon)).toBeNull();
    expect(deniedBefore(denials, { ...asked, turnId: 'next' }, soon)).toBeNull();
  });

  it('is kept in a list that ends', () => {
    const many = Array.from({ length: limits.consentDenials.value + 5 }, (_, index) =>
      denial({ argsHash: String(index) }),
    );
    expect(remembered(many, 1000)).toHaveLength(limits.consentDenials.value);
    expect(remembered(many, 1000).at(-1)).toBe(many.at(-1));
    expect(remembered(many, soon + 1)).toEqual([]);
  });
});
