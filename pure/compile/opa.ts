import { z } from 'zod';
import { GloveboxError } from '../contracts/index.ts';
import {
  parseScope,
  parseScopePattern,
  scopeMatches,
  type PolicyQuestion,
  type PolicyVerdict,
} from '../policy/index.ts';

/** One segment: a text, or what a text is like (RE2, whole). */
type Segment = { readonly is: string } | { readonly like: string };

interface OpaRule {
  readonly id: string;
  readonly domain: string;
  readonly verb: string | null;
  readonly prefix: readonly Segment[];
  readonly suffix: readonly Segment[] | null;
}

/** A session's tools as deploy/opa/bundle reads them: sent with each question, so that the server keeps nothing of a session. */
export interface OpaPolicy {
  readonly allow: readonly OpaRule[];
  readonly ask: readonly OpaRule[];
}

export interface OpaInput {
  readonly session: string;
  readonly user: string;
  readonly operation: {
    readonly scope: string;
    readonly domain: string;
    readonly verb: string;
    readonly segments: readonly string[];
  };
  readonly policy: OpaPolicy;
}

interface Tools {
  readonly allow: readonly string[];
  readonly ask: readonly string[];
}

export const compileOpa = (tools: Tools): OpaPolicy => ({
  allow: tools.allow.map((pattern, index) => ruleOf(`tools.allow.${index}`, pattern)),
  ask: tools.ask.map((pattern, index) => ruleOf(`tools.ask.${index}`, pattern)),
});

function ruleOf(id: string, pattern: string): OpaRule {
  const parsed = parseScopePattern(pattern);
  if (parsed === undefined) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The scope ${pattern}`,
      detail: `it is no pattern (${id})`,
    });
  }
  const { domain, verb, prefix, suffix } = parsed;
  return { id, domain, verb, prefix: prefix.map(segment), suffix: suffix?.map(segment) ?? null };
}

const segment = (text: string): Segment =>
  text.includes('*') ? { like: `(?s)^${text.split('*').map(escaped).join('.*')}$` } : { is: text };

/** RE2 takes a backslash before any ASCII punctuation for that character. */
const escaped = (text: string): string =>
  text.replace(/[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]/g, (character) => `\\${character}`);

/** Undefined: the scope cannot be read, which no policy permits. */
export function opaInput(
  policy: OpaPolicy,
  { sessionId, user, scope }: PolicyQuestion,
): OpaInput | undefined {
  const parsed = parseScope(scope);
  return parsed === undefined
    ? undefined
    : { session: sessionId, user, operation: { scope, ...parsed }, policy };
}

const answer = z.object({
  result: z.strictObject({
    decision: z.enum(['allow', 'ask', 'deny']),
    rule: z.string().regex(/^[A-Za-z0-9_.:-]{1,200}$/),
  }),
});

/**
 * What the server's answer is worth: it may take away from what the session's document says, and never add to it. A permission
 * counts only with a rule of the document that takes the scope in, and as what that rule says.
 */
export function opaVerdict(tools: Tools, { scope }: PolicyQuestion, said: unknown): PolicyVerdict {
  const read = answer.safeParse(said);
  if (!read.success) return { decision: 'deny', rule: 'engine.failed' };
  const { decision, rule } = read.data.result;
  if (decision === 'deny') return { decision, rule };
  const [, list, index = ''] = /^tools\.(allow|ask)\.(0|[1-9][0-9]{0,5})$/.exec(rule) ?? [];
  const pattern = list === decision ? tools[decision][Number(index)] : undefined;
  return pattern !== undefined && scopeMatches(pattern, scope)
    ? { decision, rule }
    : { decision: 'deny', rule: 'engine.overreached' };
}
