import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import {
  GloveboxError,
  limits,
  policyDocument,
  presetDocument,
  providersDocument,
} from '../contracts/index.ts';
import type { PolicyDocument, PresetDocument, ProvidersDocument } from '../contracts/index.ts';
import { nearest } from './nearest.ts';

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
  const lines = new LineCounter();
  const fail = (offset: number, detail: string, todo = 'Correct that place; nothing was changed.'): never => {
    const { line, col } = lines.linePos(offset);
    throw new GloveboxError('GB_POLICY_INVALID', { file, line: line || 1, column: col || 1, detail, todo });
  };
  if (new TextEncoder().encode(text).length > limits.policyFile.value) {
    fail(0, `the document is larger than ${limits.policyFile.value} bytes`);
  }
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    strict: true,
    merge: false,
    prettyErrors: false,
  });
  const broken = document.errors[0] ?? document.warnings[0];
  if (broken !== undefined) fail(broken.pos[0], broken.message.split('\n')[0] ?? 'not YAML');
  const value: unknown = document.contents === null ? {} : toPlain(document, fail);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // A misspelt key first: that the right one is missing only follows from it.
  const { issues } = result.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (issue === undefined) return fail(0, 'the document is not valid');
  const { path, message, unknownKey } = deepest(issue);
  const place = [...path, ...(unknownKey === undefined ? [] : [unknownKey])];
  const offset = offsetOf(document, place, unknownKey !== undefined);
  if (unknownKey === undefined)
    return fail(offset, `${place.map(String).join('.') || 'the document'}: ${message}`);
  const known = nearest(unknownKey, keysAt(schema, path));
  return fail(
    offset,
    `unknown key "${unknownKey}"`,
    known === null ? 'Remove the key; docs/policy.md lists the known ones.' : `Did you mean "${known}"?`,
  );
}

function toPlain(document: Document.Parsed, fail: (offset: number, detail: string) => never): unknown {
  try {
    // maxAliasCount 0: an alias can neither grow a document without bound nor hide what a key means.
    return document.toJS({ maxAliasCount: 0, mapAsMap: false });
  } catch (error) {
    return fail(
      0,
      error instanceof ReferenceError ? 'aliases are not allowed here' : 'the document cannot be read',
    );
  }
}

interface Place {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly unknownKey?: string;
}

function deepest(issue: z.core.$ZodIssue): Place {
  if (issue.code === 'unrecognized_keys') {
    return { path: issue.path, message: issue.message, unknownKey: issue.keys[0] ?? '' };
  }
  if (issue.code === 'invalid_union') {
    const inner = issue.errors
      .flat()
      .find((candidate) => candidate.path.length > 0 || candidate.code === 'unrecognized_keys');
    if (inner !== undefined) {
      const place = deepest(inner);
      return { ...place, path: [...issue.path, ...place.path] };
    }
  }
  return { path: issue.path, message: issue.message };
}

/** The offset of the value at `path`, or of its key; of the nearest parent where it is missing. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[], ofKey: boolean): number {
  for (let depth = path.length; depth >= 0; depth -= 1) {
    const here = path.slice(0, depth);
    const parent: unknown = depth === 0 ? document.contents : document.getIn(here.slice(0, -1), true);
    const last = here.at(-1);
    if (isMap(parent) && last !== undefined) {
      const pair = parent.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(last),
      );
      const node = ofKey || !isNode(pair?.value) ? pair?.key : pair.value;
      if (isNode(node) && node.range) return node.range[0];
    }
    const node: unknown = depth === 0 ? document.contents : document.getIn(here, true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

/** The keys that the schema knows at a path; empty where it takes any. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let here: unknown = schema;
  for (const step of path) here = inside(unwrap(here), step);
  const object = unwrap(here);
  if (object instanceof z.ZodObject) return Object.keys(object.shape);
  if (object instanceof z.ZodUnion) {
    return object.options.flatMap((option) =>
      option instanceof z.ZodObject ? Object.keys(option.shape as object) : [],
    );
  }
  return [];
}

function unwrap(schema: unknown): unknown {
  let here = schema;
  while (here instanceof z.ZodDefault || here instanceof z.ZodOptional || here instanceof z.ZodNullable)
    here = here.unwrap();
  return here;
}

function inside(schema: unknown, step: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return (schema.shape as Record<PropertyKey, unknown>)[step];
  if (schema instanceof z.ZodArray) return schema.element;
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return undefined;
}
