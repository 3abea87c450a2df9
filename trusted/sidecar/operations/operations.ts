import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  asGloveboxError,
  GloveboxError,
  limits,
  parseUntrusted,
  providerReply,
  toolDefinitions,
  toolName,
  toolScope,
  untrusted,
  type ErrorCode,
  type GrantId,
  type ProviderReply,
  type SessionId,
  type ToolDefinition,
  type Untrusted,
} from '../../../pure/contracts/index.ts';
import {
  canonicalJson,
  decideOperation,
  scopeConcerns,
  type OperationDecision,
  type PolicyEngine,
  type PolicyVerdict,
} from '../../../pure/policy/index.ts';
import type { Named } from '../../../pure/consent/index.ts';
import type { Grants } from '../grants.ts';
import type { OpenIntent, OperationFacts, OperationTrail } from '../operation-trail.ts';
import type { Runtime } from '../runtime.ts';
import type { Stamp, Turns } from '../turns.ts';

export interface ProviderPort {
  /** One request; rejects where there is no answer. `undelivered` tells apart what surely reached nobody. */
  request(domain: string, operation: string, payload: Uint8Array): Promise<Uint8Array>;
  undelivered(error: unknown): boolean;
}

export interface OperationsOptions {
  readonly session: SessionId;
  readonly turns: Turns;
  readonly grants: Grants;
  readonly trail: OperationTrail;
  readonly provider: ProviderPort;
  /** Asked at each decision: it changes while the session runs. */
  readonly policy: PolicyEngine & {
    readonly tools: { readonly allow: readonly string[]; readonly ask: readonly string[] };
  };
  readonly runtime: Runtime;
}

export interface PermittedTool {
  readonly tool: ToolDefinition;
  readonly name: string;
  readonly decision: 'allow' | 'ask';
}

export const argumentsHash = (args: unknown): string =>
  createHash('sha256').update(canonicalJson(args)).digest('hex');

/** The way of every tool call: stamp, policy, consent, intent, provider, outcome. In this order, and no other way. */
export class Operations {
  readonly #options: OperationsOptions;
  #underWay = 0;
  #unrecorded = 0;

  constructor(options: OperationsOptions) {
    this.#options = options;
  }

  /** What the policy says anything about; the rest does not exist for the agent. */
  permitted(): readonly PermittedTool[] {
    const { allow, ask } = this.#options.policy.tools;
    return toolDefinitions.flatMap((tool): PermittedTool[] => {
      const concerns = (pattern: string): boolean => scopeConcerns(pattern, tool.domain, tool.scopeVerb);
      const decision = allow.some(concerns) ? 'allow' : ask.some(concerns) ? 'ask' : undefined;
      return decision === undefined ? [] : [{ tool, name: toolName(tool), decision }];
    });
  }

  async call(name: string, given: Untrusted, named?: Named): Promise<Record<string, unknown>> {
    // Before anything is waited for: the turn of its arrival is the operation's, whatever opens meanwhile (R36).
    const stamp = this.#options.turns.stamp(named);
    if (this.#underWay >= limits.operationsAtOnce.value) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'operationsAtOnce',
        detail: `${this.#underWay} operations of this session are under way`,
      });
    }
    this.#underWay += 1;
    try {
      return await this.#call(name, given, stamp);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #call(name: string, given: Untrusted, stamp: Stamp | null): Promise<Record<string, unknown>> {
    const tool = this.permitted().find((permitted) => permitted.name === name)?.tool;
    if (tool === undefined) {
      await this.#refused({
        stamp,
        operation: `tool.${name.slice(0, 100)}`,
        argsHash: null,
        decision: 'deny',
        rule: 'tools.none',
      });
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such tool', detail: 'the policy names none of it' });
    }
    const args = parseUntrusted(tool.input, given, 'The arguments');
    const scope = toolScope(tool, args);
    const argsHash = argumentsHash(args);
    const decided = await this.#decide(scope, argsHash, stamp);
    const facts: OperationFacts = {
      stamp,
      operation: `${tool.domain}.${tool.operation}`,
      argsHash,
      scope,
      decision: decided.decision,
      rule: decided.rule,
      ...(decided.decision === 'allow' ? { grant: decided.grant } : {}),
    };
    if (decided.decision !== 'allow') {
      await this.#refused(facts);
      throw refusal(decided, scope);
    }
    const intent = await this.#options.trail.intent(facts);
    return await this.#carryOut(tool, args, intent);
  }

  async #decide(scope: string, argsHash: string, stamp: Stamp | null): Promise<OperationDecision> {
    const { session } = this.#options;
    const verdict =
      stamp === null ? noVerdict : await this.#verdict({ sessionId: session, user: stamp.user, scope });
    // Only where a grant decides: taking it spends it.
    const grant =
      stamp !== null && verdict.decision === 'ask' ? await this.#grantFor(stamp, scope, argsHash) : null;
    return decideOperation({ person: stamp !== null, verdict, takeGrant: () => grant });
  }

  /** A store that cannot be asked has said no (invariant 8). */
  async #grantFor(stamp: Stamp, scope: string, argsHash: string): Promise<GrantId | null> {
    const { grants, runtime } = this.#options;
    try {
      return await grants.take(stamp, scope, argsHash);
    } catch (error) {
      runtime.log(`a grant could not be used (${asGloveboxError(error).code})`);
      return null;
    }
  }

  /** Slow is failed (R40). */
  async #verdict(question: Parameters<PolicyEngine['decide']>[0]): Promise<PolicyVerdict> {
    const { policy, runtime } = this.#options;
    try {
      const late = runtime.delay(limits.policyDecision.value).then(() => noVerdict);
      const said = verdictSchema.safeParse(await Promise.race([policy.decide(question), late]));
      return said.success ? said.data : noVerdict;
    } catch {
      return noVerdict;
    }
  }

  async #carryOut(
    tool: ToolDefinition,
    args: Record<string, unknown>,
    intent: OpenIntent,
  ): Promise<Record<string, unknown>> {
    const { trail, provider } = this.#options;
    const payload = Buffer.from(JSON.stringify({ callId: intent.id, args }));
    const consent = this.#consent(intent);
    let reply: ProviderReply;
    try {
      // Taken back before anything was sent: then surely nothing was done.
      if (consent.revoked()) throw await this.#cutOff(intent, 'error');
      const asked = provider.request(tool.domain, tool.operation, payload);
      const answer = await Promise.race([asked, consent.gone]);
      if (answer === null) {
        asked.catch(() => undefined);
        throw await this.#cutOff(intent, 'unknown');
      }
      reply = parseUntrusted(providerReply, parseJson(answer), 'The provider’s answer');
    } catch (error) {
      const known = asGloveboxError(error);
      if (known.code === 'GB_GRANT_REVOKED') throw known;
      await this.#record(
        trail.outcome(intent, provider.undelivered(error) ? 'error' : 'unknown', known.code),
      );
      if (known.code === 'GB_PROVIDER_GONE') throw known;
      throw new GloveboxError(
        'GB_UPSTREAM_FAILED',
        {
          what: `The ${tool.domain} provider`,
          detail: known.code === 'GB_INTERNAL' ? 'it failed' : known.why,
        },
        { cause: error },
      );
    } finally {
      consent.over();
    }
    if (reply.ok) {
      await this.#record(trail.outcome(intent, 'ok'));
      return reply.result;
    }
    await this.#record(trail.outcome(intent, 'error', reply.error.code));
    const { code, message } = reply.error;
    throw new GloveboxError('GB_TOOL_FAILED', { tool: toolName(tool), reason: code, detail: message });
  }

  /** The grant behind a call, for as long as it is under way: a revocation reaches it. */
  #consent({ facts }: OpenIntent): { gone: Promise<null>; revoked: () => boolean; over: () => void } {
    const { grant } = facts;
    let isGone = false;
    let over: () => void = () => undefined;
    const gone = new Promise<null>((resolve) => {
      if (grant === undefined || grant === null) return;
      over = this.#options.grants.underWay(grant, () => {
        isGone = true;
        resolve(null);
      });
    });
    return { gone, revoked: () => isGone, over: () => over() };
  }

  /** The agent gets no result; what the provider did with the call, nobody here can say. */
  async #cutOff(intent: OpenIntent, outcome: 'error' | 'unknown'): Promise<GloveboxError> {
    const { trail } = this.#options;
    await this.#record(trail.outcome(intent, outcome, 'the grant was revoked meanwhile'));
    return new GloveboxError('GB_GRANT_REVOKED', { scope: intent.facts.scope ?? intent.facts.operation });
  }

  /**
   * The answer does not wait for the record of how it ended: that changes nothing any more, and where it is lost the intent says
   * what was done, with the outcome unknown (R42). Only so many wait to be stored: no agent outruns its own records.
   */
  async #record(outcome: Promise<void>): Promise<void> {
    this.#unrecorded += 1;
    const stored = outcome.finally(() => (this.#unrecorded -= 1));
    if (this.#unrecorded > limits.operationsAtOnce.value) await stored;
  }

  async #refused(facts: OperationFacts): Promise<void> {
    await this.#options.trail.event(facts);
  }
}

/** An engine may be a program of others: what it says is a verdict in this form only. */
const verdictSchema = z.strictObject({ decision: z.enum(['allow', 'ask', 'deny']), rule: z.string().min(1) });
const noVerdict: PolicyVerdict = { decision: 'deny', rule: 'engine.failed' };

function refusal(
  decided: { readonly decision: 'ask' | 'deny'; readonly rule: string },
  scope: string,
): GloveboxError {
  const code: ErrorCode = decided.decision === 'ask' ? 'GB_CONSENT_REQUIRED' : 'GB_POLICY_DENIED';
  const todo =
    decided.rule === 'turn.none'
      ? 'Nothing is done without a person’s open turn; wait for the person’s next input.'
      : 'Do without it, or ask the person to change the policy.';
  return new GloveboxError(code, { scope, operation: scope, rule: decided.rule, todo });
}

function parseJson(bytes: Uint8Array): Untrusted {
  try {
    return untrusted(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return untrusted(undefined);
  }
}
