import type { CompiledRule } from './decide.ts';
import { graphqlProblem } from './graphql.ts';
import { jsonRpcProblem } from './json-rpc.ts';

/** What of a request's body has to be read before it may go out; null: nothing. */
export type Inspection = 'git-push' | 'json' | null;

export const inspects = (rule: CompiledRule): boolean =>
  rule.graphql !== undefined || rule.jsonrpc !== undefined;

/**
 * The decision on a whole JSON body, for a rule that looks into it. Duplicate keys are refused: two readers may see two values.
 * Null: it fits.
 */
export function bodyProblem(rule: CompiledRule, text: string): string | null {
  let body: unknown;
  try {
    body = JSON.parse(text) as unknown;
  } catch {
    return 'the body is not JSON';
  }
  if (hasDuplicateKeys(text)) return 'an object of the body has a key twice';
  return (
    (rule.graphql === undefined ? null : graphqlProblem(rule.graphql, body)) ??
    (rule.jsonrpc === undefined ? null : jsonRpcProblem(rule.jsonrpc, body))
  );
}

/** In a text that JSON.parse took: one walk over its tokens. */
function hasDuplicateKeys(text: string): boolean {
  const objects: (Set<string> | null)[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/gs;
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{') objects.push(new Set());
    else if (token === '[') objects.push(null);
    else if (token === '}' || token === ']') objects.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, token.length - colon.length)) as string;
      const keys = objects.at(-1);
      if (keys?.has(key) === true) return true;
      keys?.add(key);
    }
  }
  return false;
}

/** A content type of JSON in UTF-8, and nothing that another reader would take for something else. */
export const isJson = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  /^application\/(json|graphql-response\+json|[a-z0-9.-]+\+json)(\s*;\s*charset="?utf-8"?)?$/i.test(
    contentType.trim(),
  );
