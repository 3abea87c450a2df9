import type { z } from 'zod';
import {
  asGloveboxError,
  asGrantId,
  GloveboxError,
  limits,
  spiffeId,
  type workloadRoutes,
  type ConsentClaims,
  type ControlMessage,
  type PermissionRequest,
  type SandboxId,
  type SessionId,
  type SpiffeId,
  type TrustDomain,
} from '../../../pure/contracts/index.ts';
import { canonicalJson, parseScopePattern } from '../../../pure/policy/index.ts';
import type { Named } from '../../../pure/consent/index.ts';
import type { Grants } from '../grants.ts';
import type { LivePolicy } from '../live-policy.ts';
import type { OperationTrail } from '../operation-trail.ts';
import type { Runtime } from '../runtime.ts';
import type { Stamp, Turns } from '../turns.ts';
import { argumentsHash } from './operations.ts';

export type ConsentOrder = z.input<typeof workloadRoutes.requestConsent.body>;
export type ConsentReceipt = z.output<typeof workloadRoutes.requestConsent.response>;
type Answer = Extract<ControlMessage, { type: 'consent' }>;
export type ExpectedClaims = Omit<ConsentClaims, 'mode' | 'jti' | 'iat' | 'exp'>;

export interface PermissionsOptions {
  readonly session: SessionId;
  readonly sandbox: SandboxId;
  readonly self: SpiffeId;
  readonly trustDomain: TrustDomain;
  readonly turns: Turns;
  readonly grants: Grants;
  readonly trail: OperationTrail;
  readonly policy: Pick<LivePolicy, 'verdictOf'>;
  readonly requestConsent: (order: ConsentOrder) => Promise<ConsentReceipt>;
  readonly consumeConsent: (token: string) => Promise<string>;
  /** False: it was answered before. */
  readonly cancelConsent: (id: string) => Promise<boolean>;
  /** Signature, type, time, and each claim as expected (R37); throws. */
  readonly verifyConsent: (token: string, expected: ExpectedClaims, now: number) => Promise<ConsentClaims>;
  readonly runtime: Runtime;
}

export interface PermissionAnswer {
  /** Of the question, where there was one. */
  readonly id: string | null;
  readonly state: 'pending' | 'granted' | 'refused';
  readonly granted: boolean;
  readonly scope: string;
  readonly mode: 'once' | 'session' | null;
  readonly detail: string;
}

interface Question {
  readonly stamp: Stamp;
  readonly scope: string;
  readonly argsHash: string;
  readonly withArguments: boolean;
}

/** Asking a person, and what becomes of the answer: a grant, only ever by a token that the signer signed for this question. */
export class Permissions {
  readonly #options: PermissionsOptions;
  /** One for each question, however often the agent asks it. */
  readonly #open = new Map<string, Promise<PermissionAnswer>>();
  readonly #answered = new Map<string, Answer>();
  readonly #waiting = new Map<string, (answer: Answer) => void>();
  /** Of what is open, and what came of the rest. */
  readonly #scopes = new Map<string, string>();
  readonly #settled = new Map<string, PermissionAnswer>();

  constructor(options: PermissionsOptions) {
    this.#options = options;
  }

  /** `wait` false: what is asked is pending, and `status` tells the rest. */
  async request(request: PermissionRequest, named?: Named, wait = true): Promise<PermissionAnswer> {
    const stamp = this.#options.turns.stamp(named);
    const { scope } = request;
    const withArguments = request.arguments !== undefined;
    const argsHash = argumentsHash(request.arguments ?? {});
    const pattern = parseScopePattern(scope);
    if (pattern === undefined) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: 'The scope',
        detail: 'it is not of the form domain:verb:/path',
      });
    }
    const verdict = this.#options.policy.verdictOf(scope);
    if (verdict.decision === 'allow') return { ...noQuestion, scope, detail: 'the policy allows it' };
    const rule = stamp === null ? 'turn.none' : stamp.mayUseGrants ? verdict.rule : 'turn.earlier';
    if (stamp === null || !stamp.mayUseGrants || verdict.decision === 'deny') {
      const facts = { stamp, operation: 'consent.request', argsHash, scope, decision: 'deny', rule } as const;
      await this.#options.trail.event(facts);
      throw new GloveboxError('GB_POLICY_DENIED', {
        operation: scope,
        rule,
        todo: 'No person can grant this here: do without it.',
      });
    }
    if (this.#options.grants.has(stamp.user, scope, argsHash)) {
      return { ...noQuestion, scope, detail: 'it is granted already' };
    }
    const operation = `${pattern.domain}:${pattern.verb ?? '*'}`;
    const receipt = await this.#options.requestConsent({
      ...request,
      turnId: stamp.turnId,
      operation,
      host: verdict.host,
      argsHash,
      argumentsText: shown(request.arguments),
    });
    const answer = this.#answerTo(receipt, { stamp, scope, argsHash, withArguments });
    if (!wait) return pending(receipt.id, scope);
    return await answer;
  }

  /** What became of a question of this session's. */
  status(id: string): PermissionAnswer {
    const settled = this.#settled.get(id);
    if (settled !== undefined) return settled;
    const scope = this.#scopes.get(id);
    if (scope !== undefined) return pending(id, scope);
    throw new GloveboxError('GB_NOT_FOUND', { what: 'such question', detail: 'it was not asked here' });
  }

  /** The person is not asked any more; where they have answered, their answer stands. */
  async cancel(id: string): Promise<PermissionAnswer> {
    const open = this.#open.get(id);
    if (open === undefined || !(await this.#options.cancelConsent(id))) return this.status(id);
    return await open;
  }

  /** A signed word of the control plane, which may come before the receipt of the question. */
  heed(answer: Answer): void {
    const waiting = this.#waiting.get(answer.challenge_id);
    if (waiting !== undefined) return waiting(answer);
    this.#answered.set(answer.challenge_id, answer);
    const [oldest] = this.#answered.keys();
    if (this.#answered.size > limits.consentPending.value && oldest !== undefined)
      this.#answered.delete(oldest);
  }

  #answerTo(receipt: ConsentReceipt, question: Question): Promise<PermissionAnswer> {
    const open = this.#open.get(receipt.id);
    if (open !== undefined) return open;
    const answer = this.#settle(receipt, question)
      .then((settled) => this.#keep(receipt.id, settled))
      .finally(() => {
        this.#open.delete(receipt.id);
        this.#scopes.delete(receipt.id);
      });
    // Nobody may be waiting: the agent asks for it later, or never.
    answer.catch((error: unknown) => {
      this.#options.runtime.log(`a question was not settled (${asGloveboxError(error).code})`);
    });
    this.#open.set(receipt.id, answer);
    this.#scopes.set(receipt.id, question.scope);
    return answer;
  }

  #keep(id: string, answer: PermissionAnswer): PermissionAnswer {
    this.#settled.set(id, answer);
    const [oldest] = this.#settled.keys();
    if (this.#settled.size > limits.grants.value && oldest !== undefined) this.#settled.delete(oldest);
    return answer;
  }

  async #settle(receipt: ConsentReceipt, question: Question): Promise<PermissionAnswer> {
    const { scope } = question;
    const answer = await this.#wait(receipt);
    const refused = (detail: string): PermissionAnswer => ({
      id: receipt.id,
      state: 'refused',
      granted: false,
      scope,
      mode: null,
      detail,
    });
    if (answer === undefined || answer.answer === 'expired') return refused('nobody answered in time');
    if (answer.answer === 'denied' || answer.token === null) return refused('the person denied it');
    try {
      return await this.#grant(answer.token, receipt, question);
    } catch (error) {
      // What cannot be proven was not granted, whatever the reason.
      const known = asGloveboxError(error);
      this.#options.runtime.log(`a consent token is refused (${known.code})`);
      await this.#options.trail.event({
        stamp: question.stamp,
        operation: 'consent.token',
        argsHash: question.argsHash,
        scope,
        decision: 'deny',
        rule: known.code,
        detail: known.why,
      });
      return refused('the answer could not be verified');
    }
  }

  async #grant(token: string, receipt: ConsentReceipt, question: Question): Promise<PermissionAnswer> {
    const { session, sandbox, self, trustDomain, runtime, verifyConsent, consumeConsent, grants } =
      this.#options;
    const { stamp, scope, argsHash, withArguments } = question;
    const claims = await verifyConsent(
      token,
      {
        iss: spiffeId(trustDomain, { kind: 'signer' }),
        aud: self,
        sub: stamp.user,
        session_id: session,
        sandbox_id: sandbox,
        scope,
        challenge_id: receipt.id,
        args_hash: argsHash,
        turn_id: stamp.turnId,
        digest: receipt.digest,
      },
      runtime.now(),
    );
    const id = asGrantId(await consumeConsent(token));
    // The policy may have changed while the person thought about it, and while the token was spent.
    if (this.#options.policy.verdictOf(scope).decision === 'deny') {
      throw new GloveboxError('GB_CONSENT_DENIED', {
        scope,
        detail: 'the policy no longer leaves it to a person',
      });
    }
    grants.add({ id, user: stamp.user, scope, mode: claims.mode, argsHash: withArguments ? argsHash : null });
    return {
      id: receipt.id,
      state: 'granted',
      granted: true,
      scope,
      mode: claims.mode,
      detail: 'the person granted it',
    };
  }

  async #wait(receipt: ConsentReceipt): Promise<Answer | undefined> {
    const early = this.#answered.get(receipt.id);
    this.#answered.delete(receipt.id);
    if (early !== undefined) return early;
    const { runtime } = this.#options;
    // The control plane says so when a question expires; this only ends the wait where it cannot.
    const left =
      Math.min(Date.parse(receipt.expiresAt) - runtime.now(), limits.consentWait.value) +
      limits.workloadAnswer.value;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(receipt.id, resolve));
    try {
      return await Promise.race([answered, runtime.delay(Math.max(left, 0)).then(() => undefined)]);
    } finally {
      this.#waiting.delete(receipt.id);
    }
  }
}

const noQuestion = { id: null, state: 'granted', granted: true, mode: null } as const;
const pending = (id: string, scope: string): PermissionAnswer => ({
  id,
  state: 'pending',
  granted: false,
  scope,
  mode: null,
  detail: 'the person has not answered yet',
});

/** What does not fit is said not to be shown; the hash binds all of it. */
function shown(args: Record<string, unknown> | undefined): string {
  if (args === undefined) return '';
  const text = canonicalJson(args);
  if (text.length <= shownLimit) return text;
  const note = ` [${text.length - shownLimit} more characters are not shown]`;
  return text.slice(0, shownLimit).toWellFormed() + note;
}
const shownLimit = 3900;
