import type { z } from 'zod';
import { GloveboxError } from './errors.ts';

declare const mark: unique symbol;
/** Bytes or a value from a sandbox or a provider. Nothing can be read from it until a schema has parsed it. */
export type Untrusted<T = unknown> = { readonly [mark]: T };

export const untrusted = <T>(value: T): Untrusted<T> => value as unknown as Untrusted<T>;

/** The only way out of `Untrusted`: the value as the schema has it, or GB_INPUT_INVALID naming the first wrong place. */
export function parseUntrusted<S extends z.ZodType>(schema: S, value: Untrusted, what: string): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const place =
    issue === undefined || issue.path.length === 0 ? 'the value' : issue.path.map(String).join('.');
  throw new GloveboxError('GB_INPUT_INVALID', { what, detail: `${place}: ${issue?.message ?? 'invalid'}` });
}
