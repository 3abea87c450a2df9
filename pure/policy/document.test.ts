import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { policyDocument } from '../contracts/index.ts';
import { parsePolicy } from './index.ts';

const text = readFileSync(fileURLToPath(new URL('../../docs/policy.md', import.meta.url)), 'utf8');

describe('docs/policy.md', () => {
  it('has an example that is a policy', () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
    expect(parsePolicy(example, 'docs/policy.md').egress).toHaveLength(2);
  });
  it('names every key of the format', () => {
    const schema = z.toJSONSchema(policyDocument, { io: 'input' });
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      expect(text).toContain(`\`${key}`);
      const inner =
        typeof value === 'object' ? ((value.items as z.core.JSONSchema.JSONSchema | undefined) ?? value) : {};
      for (const name of Object.keys(inner.properties ?? {}))
        expect(text, `${key}.${name}`).toContain(`\`${key}.${name}\``);
    }
  });
});
