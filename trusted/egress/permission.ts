import type { Readable, Transform } from 'node:stream';
import { GloveboxError } from '../../pure/contracts/index.ts';
import {
  decide,
  longestRulePath,
  type CompiledRule,
  type EgressAllowed,
  type EgressDecision,
  type EgressDenied,
  type EgressRequest,
  type Injection,
  type Needs,
} from '../../pure/egress/index.ts';
import { Budgets } from './budgets.ts';
import type { Inbound } from './inbound.ts';
import { inspect } from './inspection.ts';
import type { EgressIntent, EgressOptions, EgressRecord, EgressStamp, Traffic } from './port.ts';
import type { UnderWay } from './under-way.ts';

type Entry<S extends EgressStamp> = Omit<EgressRecord<S>, 'decision' | 'rule'>;

export interface Permitted<S extends EgressStamp, I> {
  readonly rule: CompiledRule;
  readonly path: string;
  readonly inject: Injection | null;
  readonly credential: string | null;
  readonly intent: I | null;
  readonly entry: EgressRecord<S>;
  readonly began: number;
  /** The request's body from its first byte. */
  readonly body: Readable;
}

/** What became of a request, for its record. */
export interface End {
  readonly result: 'ok' | 'error' | 'unknown';
  readonly detail: string;
  readonly traffic?: Traffic;
}

/** Whether a request may go out, decided and written down before it does. */
export class Permissions<S extends EgressStamp, I extends EgressIntent> {
  readonly #options: EgressOptions<S, I>;
  readonly #budgets = new Budgets();

  constructor(options: EgressOptions<S, I>) {
    this.#options = options;
  }

  async permit(inbound: Inbound, begun: UnderWay): Promise<Permitted<S, I>> {
    const began = performance.now();
    const stamp = this.#options.stamp();
    const { question } = begun;
    if (inbound.protocol === 'HTTP/1.0' && inbound.headers.some(([name]) => name === 'transfer-encoding')) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: 'The request',
        detail: 'HTTP/1.0 knows no transfer encoding',
      });
    }
    const { egress, placeholders } = this.#options.policy;
    const decision = decide(egress, placeholders, question);
    const entry = entryOf(stamp, question);
    if (decision.decision === 'deny') return this.#deny(entry, question, decision);
    begun.decided = decision.decision;
    const body = await this.#inspected(entry, question, decision, inbound);
    const allowed =
      decision.decision === 'ask' ? await this.#consented(entry, stamp, decision, begun) : decision;
    const grant = begun.grant?.id;
    const permitted = await this.#recorded(
      grant === undefined ? entry : { ...entry, grant },
      stamp,
      allowed,
      { began, body },
    );
    if (!begun.cut) return permitted;
    const what = begun.revoked ? 'the consent was taken back' : 'the policy was changed';
    await this.finish(permitted, { result: 'error', detail: `${what} before anything was sent` });
    throw new GloveboxError('GB_EGRESS_DENIED', {
      target: entry.target,
      detail: `${what} meanwhile`,
      rule: 'egress.changed',
      todo: 'Ask the person to add an egress rule to the policy.',
    });
  }

  #deny(entry: Entry<S>, question: EgressRequest, { rule, why, todo, alert, needs }: EgressDenied): never {
    this.#options.audit.event({ ...entry, decision: 'deny', rule, alert, detail: why });
    throw new GloveboxError('GB_EGRESS_DENIED', {
      target: `${question.method} ${question.connectHost}`,
      detail: why,
      rule,
      todo,
      ...neededRule(needs),
    });
  }

  /** What the rule says of the body, and what is left of its requests: the last checks before anybody is asked or anything written. */
  async #inspected(
    entry: Entry<S>,
    question: EgressRequest,
    decision: Exclude<EgressDecision, EgressDenied>,
    inbound: Inbound,
  ): Promise<Readable> {
    const allowed = decision.decision === 'ask' ? decision.allowed : decision;
    const { rule, inspection } = allowed;
    const refuse = (why: string): never =>
      this.#deny(entry, question, {
        decision: 'deny',
        rule: rule.id,
        why,
        todo: 'Ask the person to change the egress rule.',
        alert: false,
      });
    const spent = this.#budgets.request(rule);
    if (spent !== null) return refuse(spent);
    if (inspection === null) return inbound.body;
    inbound.proceed();
    const inspected = await inspect(rule, inspection, inbound.body);
    return inspected.ok ? inspected.body : refuse(inspected.why);
  }

  /** What counts the bytes of a body against the rule's bounds. */
  counted(rule: CompiledRule, most?: string): Transform[] {
    const counter = this.#budgets.counter(rule, most);
    return counter === null ? [] : [counter];
  }

  async #consented(
    entry: Entry<S>,
    stamp: S | null,
    decision: Extract<EgressDecision, { decision: 'ask' }>,
    begun: UnderWay,
  ): Promise<EgressAllowed> {
    const revoke = (): void => {
      begun.revoked = true;
      begun.cut = true;
      begun.end();
    };
    begun.grant = stamp === null ? null : await this.#options.takeGrant(stamp, decision.scope, revoke);
    if (begun.grant !== null) return { ...decision.allowed, audited: true };
    this.#options.audit.event({ ...entry, decision: 'ask', rule: decision.rule.id, detail: decision.scope });
    throw new GloveboxError('GB_CONSENT_REQUIRED', { scope: decision.scope, rule: decision.rule.id });
  }

  /** What has an effect or gets a credential is stored before anything goes out (R42), and needs a person's turn. */
  async #recorded(
    entry: Entry<S>,
    stamp: S | null,
    { rule, path, inject, audited }: EgressAllowed,
    { began, body }: { readonly began: number; readonly body: Readable },
  ): Promise<Permitted<S, I>> {
    const record = { ...entry, decision: 'allow', rule: rule.id, secret: inject?.secret ?? null } as const;
    const permitted = { rule, path, inject, credential: null, intent: null, entry: record, began, body };
    if (!audited) return permitted;
    if (stamp === null) {
      this.#options.audit.event({
        ...record,
        decision: 'deny',
        rule: 'turn.none',
        detail: 'no turn is open',
      });
      throw new GloveboxError('GB_EGRESS_DENIED', {
        target: entry.target,
        detail: 'no turn is open',
        rule: 'turn.none',
        todo: 'Wait for a person.',
      });
    }
    const intent = await this.#options.audit.intent(record);
    // A signature is made over the whole request, when it is about to go out.
    if (inject === null || inject.place === 'signature') return { ...permitted, intent };
    try {
      const secret = await this.#options.readSecret(inject.secret, intent.sequence, rule.credential?.github);
      return { ...permitted, credential: secret.reveal(), intent };
    } catch (error) {
      await this.#options.audit.outcome(intent, 'error', 'the secret could not be read');
      throw error;
    }
  }

  /** The outcome of what was intended; of what has no effect, the one record. */
  async finish(permitted: Permitted<S, I>, { result, detail, traffic }: End): Promise<void> {
    if (permitted.intent !== null)
      await this.#options.audit.outcome(permitted.intent, result, detail, traffic);
    else
      this.#options.audit.event({
        ...permitted.entry,
        detail,
        result,
        ...(traffic === undefined ? {} : { traffic }),
      });
  }
}

/** For the error's body; what is longer than a rule may be is left to the words. */
export const neededRule = (needs: Needs | undefined): Readonly<Record<string, string | number>> =>
  needs === undefined
    ? {}
    : {
        host: needs.host,
        port: needs.port,
        ...(needs.method === undefined ? {} : { method: needs.method }),
        ...(needs.path === undefined || needs.path.length > longestRulePath ? {} : { path: needs.path }),
      };

export const entryOf = <S extends EgressStamp>(stamp: S | null, question: EgressRequest): Entry<S> => ({
  stamp,
  operation: `egress:${question.method}`,
  target: `${question.scheme}://${question.connectHost}:${String(question.connectPort)}${question.target.split('?', 1)[0] ?? '/'}`,
  secret: null,
  alert: false,
  detail: null,
});
