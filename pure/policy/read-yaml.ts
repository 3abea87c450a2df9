import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { limits } from '../contracts/index.ts';
import { nearest } from './nearest.ts';

/** Both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface Problem extends Position {
  readonly detail: string;
  readonly todo: string;
}

/** Where the value at a path stands; where it is missing, its nearest parent. */
export type PlaceOf = (path: readonly PropertyKey[]) => Position;

export type ReadYaml<T> =
  | { readonly ok: true; readonly value: T; readonly placeOf: PlaceOf }
  | { readonly ok: false; readonly problems: readonly [Problem, ...Problem[]] };

const correct = 'Correct that place; nothing was changed.';

/** A YAML document of ours with its places, or everything that is wrong with it, the most telling first. */
export function readYaml<S extends z.ZodType>(schema: S, text: string): ReadYaml<z.infer<S>> {
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: line || 1, column: col || 1 };
  };
  const broken = (offset: number, detail: string): ReadYaml<never> => ({
    ok: false,
    problems: [{ ...at(offset), detail, todo: correct }],
  });
  if (new TextEncoder().encode(text).length > limits.policyFile.value)
    return broken(0, `the document is larger than ${limits.policyFile.value} bytes`);
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    strict: true,
    merge: false,
    prettyErrors: false,
  });
  const fault = document.errors[0] ?? document.warnings[0];
  if (fault !== undefined) return broken(fault.pos[0], fault.message.split('\n')[0] ?? 'not YAML');
  const plain = toPlain(document);
  if (!plain.ok) return broken(0, plain.why);
  const result = schema.safeParse(plain.value);
  if (result.success)
    return { ok: true, value: result.data, placeOf: (path) => at(offsetOf(document, path, false)) };
  // A misspelt key first: that the right one is missing only follows from it.
  const issues = [...result.error.issues].sort((a, b) => rank(a) - rank(b));
  const [first, ...more] = issues.flatMap((issue) => problemsOf(issue, schema, document, at));
  return first === undefined
    ? broken(0, 'the document is not valid')
    : { ok: false, problems: [first, ...more] };
}

const rank = (issue: z.core.$ZodIssue): number => (issue.code === 'unrecognized_keys' ? 0 : 1);

function problemsOf(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  document: Document.Parsed,
  at: (offset: number) => Position,
): Problem[] {
  const { path, message, unknownKeys } = deepest(issue);
  if (unknownKeys === undefined) {
    const detail = `${path.map(String).join('.') || 'the document'}: ${message}`;
    return [{ ...at(offsetOf(document, path, false)), detail, todo: correct }];
  }
  return unknownKeys.map((key) => {
    const known = nearest(key, keysAt(schema, path));
    return {
      ...at(offsetOf(document, [...path, key], true)),
      detail: `unknown key "${key}"`,
      todo:
        known === null ? 'Remove the key; docs/policy.md lists the known ones.' : `Did you mean "${known}"?`,
    };
  });
}

type Plain = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

function toPlain(document: Document.Parsed): Plain {
  if (document.contents === null) return { ok: true, value: {} };
  try {
    // maxAliasCount 0: an alias can neither grow a document without bound nor hide what a key means.
    return { ok: true, value: document.toJS({ maxAliasCount: 0, mapAsMap: false }) };
  } catch (error) {
    const why =
      error instanceof ReferenceError ? 'aliases are not allowed here' : 'the document cannot be read';
    return { ok: false, why };
  }
}

interface Place {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly unknownKeys?: readonly string[];
}

function deepest(issue: z.core.$ZodIssue): Place {
  if (issue.code === 'unrecognized_keys') {
    return { path: issue.path, message: issue.message, unknownKeys: issue.keys };
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
