import type { z } from 'zod';
import { GloveboxError, policyDocument, presetDocument, providersDocument } from '../contracts/index.ts';
import type { PolicyDocument, PresetDocument, ProvidersDocument } from '../contracts/index.ts';
import { readYaml } from './read-yaml.ts';

/**
 * Reads a policy document (YAML 1.2, at most 256 KiB). Anything wrong is one GB_POLICY_INVALID with the place of the first
 * error; aliases, tags, duplicate keys and several documents are refused, since they are ways to say one thing and mean another.
 */
export const parsePolicy = (text: string, file: string): PolicyDocument =>
  parseYaml(policyDocument, text, file);

/** Reads a preset: one file of data. */
export const parsePreset = (text: string, file: string): PresetDocument =>
  parseYaml(presetDocument, text, file);

/** Reads `providers.yaml`. */
export const parseProviders = (text: string, file: string): ProvidersDocument =>
  parseYaml(providersDocument, text, file);

/** Any YAML document of ours, with line and column in its errors. */
export function parseYaml<S extends z.ZodType>(schema: S, text: string, file: string): z.infer<S> {
  const read = readYaml(schema, text);
  if (read.ok) return read.value;
  const { line, column, detail, todo } = read.problems[0];
  throw new GloveboxError('GB_POLICY_INVALID', { file, line, column, detail, todo });
}
