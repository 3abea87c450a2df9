import { z } from 'zod';
import type { Position, PlaceOf } from '../policy/index.ts';
import { readYaml, type Problem } from '../policy/index.ts';
import { explain, type Attempt, type Explanation } from './explain.ts';
import type { PolicySource } from './lint.ts';

/** A file of cases: what an agent might try, and what the policy is meant to say of it. */
export const policyCases = z.strictObject({
  /** The policy document, or preset, beside this file. */
  policy: z.string().min(1).max(4096).optional(),
  cases: z
    .array(
      z.strictObject({
        name: z.string().max(200).optional(),
        call: z.string().max(100).optional(),
        with: z.record(z.string(), z.unknown()).optional(),
        request: z
          .string()
          .max(10_000)
          .regex(/^[A-Z]{3,10} https?:\/\/\S+$/, 'a request is METHOD https://host/path')
          .optional(),
        headers: z.record(z.string(), z.string()).optional(),
        permission: z.string().max(4096).optional(),
        expect: z.enum(['allow', 'ask', 'deny']),
        rule: z.string().max(100).optional(),
      }),
    )
    .min(1)
    .max(10_000),
});
export type PolicyCase = z.infer<typeof policyCases>['cases'][number];

export interface CaseOutcome extends Position {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: { readonly decision: string; readonly rule: string | null };
  /** Null: the case itself is not valid, and `why` says how. */
  readonly decided: Explanation | null;
  readonly why: string;
}

export type CasesFile =
  | {
      readonly ok: true;
      readonly policy: string | null;
      readonly cases: readonly PolicyCase[];
      readonly placeOf: PlaceOf;
    }
  | { readonly ok: false; readonly problems: readonly [Problem, ...Problem[]] };

export function readCases(text: string): CasesFile {
  const read = readYaml(policyCases, text);
  if (!read.ok) return read;
  const { policy, cases } = read.value;
  return { ok: true, policy: policy ?? null, cases, placeOf: read.placeOf };
}

export const runCases = (
  source: PolicySource,
  cases: readonly PolicyCase[],
  placeOf: PlaceOf,
): readonly CaseOutcome[] =>
  cases.map((one, index) => ({ ...outcomeOf(source, one), ...placeOf(['cases', index]) }));

function outcomeOf(source: PolicySource, one: PolicyCase): Omit<CaseOutcome, keyof Position> {
  const expected = { decision: one.expect, rule: one.rule ?? null };
  const attempt = attemptOf(one);
  const name = one.name ?? one.request ?? one.permission ?? one.call ?? 'a case';
  const bad = (why: string) => ({ name, ok: false, expected, decided: null, why });
  if (attempt === null)
    return bad('a case has one of call (with), request (headers) and permission, and no other’s keys');
  const explained = explain(source, attempt);
  if (!explained.ok) return bad(explained.why);
  const { explanation } = explained;
  const same = explanation.decision === one.expect && (one.rule ?? explanation.rule) === explanation.rule;
  return { name, ok: same, expected, decided: explanation, why: explanation.why };
}

/** Null: it says several things at once, or nothing. */
function attemptOf(one: PolicyCase): Attempt | null {
  const { call, request, permission } = one;
  if ([call, request, permission].filter((given) => given !== undefined).length !== 1) return null;
  if ((one.with !== undefined && call === undefined) || (one.headers !== undefined && request === undefined))
    return null;
  if (call !== undefined) return { kind: 'call', tool: call, args: one.with ?? {} };
  if (permission !== undefined) return { kind: 'permission', scope: permission };
  const [method = '', url = ''] = (request ?? '').split(' ');
  return { kind: 'request', method, url, headers: Object.entries(one.headers ?? {}) };
}
