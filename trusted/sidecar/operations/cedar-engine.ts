import { setFlagsFromString } from 'node:v8';
import type * as Cedar from '@cedar-policy/cedar-wasm/nodejs';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { cedarRequest, compileCedar } from '../../../pure/compile/index.ts';
import type { PolicyEngine, PolicyQuestion, PolicyVerdict } from '../../../pure/policy/index.ts';

/** What the decision takes of the library, so that a test can be the library that fails. */
export type CedarLibrary = Pick<
  typeof Cedar,
  'policySetTextToParts' | 'policyToJson' | 'preparsePolicySet' | 'statefulIsAuthorized'
>;

/**
 * The library, ready: loaded and run once, since its first decision takes 0.2 s. V8's optimising compiler takes 40 MB for this
 * module and makes no decision faster that anybody would notice.
 */
export async function loadCedar(): Promise<CedarLibrary> {
  setFlagsFromString('--liftoff-only');
  const cedar = await import('@cedar-policy/cedar-wasm/nodejs');
  const engine = CedarEngine.prepare(compileCedar({ allow: ['warm:up:/*'], ask: ['warm:up:/**'] }), 0, cedar);
  await engine.decide({ sessionId: 'none', user: 'none', scope: 'warm:up:/a/b' });
  return cedar;
}

/**
 * The embedded engine. A policy set is prepared once for each generation. An error in any diagnostics means deny: Cedar
 * skips a policy that errors, a forbidding one too.
 */
export class CedarEngine implements PolicyEngine {
  readonly #set: string;
  readonly #cedar: CedarLibrary;

  private constructor(set: string, cedar: CedarLibrary) {
    this.#set = set;
    this.#cedar = cedar;
  }

  static prepare(text: string, generation: number, cedar: CedarLibrary): CedarEngine {
    const set = `generation-${generation}`;
    const answer = cedar.preparsePolicySet(set, { staticPolicies: byId(text, cedar) });
    if (answer.type !== 'success') throw unusable(answer.errors[0]?.message ?? 'it cannot be parsed');
    return new CedarEngine(set, cedar);
  }

  decide(question: PolicyQuestion): Promise<PolicyVerdict> {
    try {
      const free = this.#ask(question, false);
      if (free.decision !== 'deny' || free.rule !== nothing.rule) return Promise.resolve(free);
      const granted = this.#ask(question, true);
      return Promise.resolve(
        granted.decision === 'allow' ? { decision: 'ask', rule: granted.rule } : granted,
      );
    } catch {
      // Whatever it threw: a decision that was not made is a denial (invariant 8).
      return Promise.resolve(failed);
    }
  }

  #ask(question: PolicyQuestion, granted: boolean): PolicyVerdict {
    const request = cedarRequest(question, granted);
    if (request === undefined) return { decision: 'deny', rule: 'scope.unreadable' };
    const answer = this.#cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: this.#set });
    if (answer.type !== 'success') return failed;
    const { decision, diagnostics } = answer.response;
    if (diagnostics.errors.length > 0) return failed;
    // The first in the document, as every engine names it.
    const [rule] = diagnostics.reason.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    if (decision === 'allow' && rule !== undefined) return { decision: 'allow', rule };
    if (decision !== 'deny') return failed;
    return rule === undefined ? nothing : { decision: 'deny', rule };
  }
}

const failed: PolicyVerdict = { decision: 'deny', rule: 'engine.failed' };
const nothing: PolicyVerdict = { decision: 'deny', rule: 'tools.none' };

/** Policies under the names that they carry as `@id`, so that a decision can be traced to its line of the document. */
function byId(text: string, cedar: CedarLibrary): Record<string, string> {
  const parts = cedar.policySetTextToParts(text);
  if (parts.type !== 'success') throw unusable(parts.errors[0]?.message ?? 'it cannot be parsed');
  if (parts.policy_templates.length > 0) throw unusable('it holds a template');
  const named: Record<string, string> = {};
  for (const policy of parts.policies) {
    const read = cedar.policyToJson(policy);
    const id = read.type === 'success' ? read.json.annotations?.['id'] : undefined;
    if (typeof id !== 'string' || id === '' || Object.hasOwn(named, id))
      throw unusable('a policy has no name of its own');
    named[id] = policy;
  }
  return named;
}

const unusable = (detail: string): GloveboxError =>
  new GloveboxError('GB_POLICY_INVALID', {
    file: 'compiled policy',
    line: 0,
    column: 0,
    detail,
    todo: 'This is a defect of Glovebox; please report it.',
  });
