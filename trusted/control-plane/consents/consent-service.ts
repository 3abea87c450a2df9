import { createHash, timingSafeEqual } from 'node:crypto';
import type { z } from 'zod';
import {
  asConsentId,
  asTurnId,
  asUserId,
  auditText,
  GloveboxError,
  isId,
  limits,
  type ConsentClaims,
  type ConsentMode,
  type ConsentQuestion,
  type SessionId,
  type SpiffeId,
  type UserId,
  type WorkloadRoutes,
} from '../../../pure/contracts/index.ts';
import {
  deniedBefore,
  isAlike,
  remembered,
  shownText,
  type Asked,
  type Denial,
} from '../../../pure/consent/index.ts';
import type { SessionRecord, Store } from '../../store/index.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { answered, notOpen } from './question-errors.ts';
import type { AuditTrail, Clock } from '../ports.ts';
import type { Ids } from '../random-ids.ts';
import type { ControlChannel } from '../sessions/control-channel.ts';
import { RequestRate } from '../../workload-http/index.ts';

export type ConsentRequest = z.infer<WorkloadRoutes['requestConsent']['body']>;

export interface ConsentServiceOptions {
  readonly store: Pick<Store, 'consents' | 'grants' | 'sessions'>;
  readonly control: Pick<ControlChannel, 'say'>;
  readonly audit: AuditTrail;
  readonly signConsent: (claims: ConsentClaims) => Promise<string>;
  /** Signature, issuer, audience, subject, session and time of a token; throws where one is wrong. */
  readonly verifyConsent: (
    token: string,
    expected: Pick<ConsentClaims, 'iss' | 'aud' | 'sub' | 'session_id' | 'sandbox_id'>,
  ) => Promise<ConsentClaims>;
  readonly signerId: SpiffeId;
  readonly sidecarId: (session: SessionId) => SpiffeId;
  readonly onQuestion: (question: ConsentQuestion) => void;
  readonly onError: (error: unknown, doing: string) => void;
  readonly clock: Clock;
  readonly ids: Ids;
}

/** Questions to a person, and what becomes of the answers. A question that nobody answers is denied when its time is over. */
export class ConsentService {
  readonly #options: ConsentServiceOptions;
  readonly #queue = new KeyedQueue<SessionId>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #rate: RequestRate;
  readonly #scopeRate: RequestRate;
  /** Of sessions that run here: with its control plane a session ends, and with it the need to remember. */
  readonly #denials = new Map<SessionId, readonly Denial[]>();

  constructor(options: ConsentServiceOptions) {
    this.#options = options;
    this.#rate = new RequestRate('consentRate', limits.consentRate.value, () => options.clock.now());
    this.#scopeRate = new RequestRate('consentScopeRate', limits.consentScopeRate.value, () =>
      options.clock.now(),
    );
  }

  /** A question of the session in the caller's certificate, about its one open turn (R36). */
  async ask(
    session: SessionRecord,
    request: ConsentRequest,
  ): Promise<{ id: string; expiresAt: string; digest: string }> {
    return await this.#queue.run(session.id, async () => {
      if (session.state !== 'running' && session.state !== 'preparing') throw notOpen(session, 'a question');
      if (session.turnId === null || request.turnId !== session.turnId) {
        throw new GloveboxError('GB_CONSENT_DENIED', {
          scope: request.scope,
          detail: 'it was asked in a turn that is not open',
        });
      }
      this.#rate.count(session.id);
      const asked = askedBy(request);
      const denied = deniedBefore(this.#denials.get(session.id) ?? [], asked, this.#options.clock.now());
      if (denied !== null)
        throw new GloveboxError('GB_CONSENT_DENIED', { scope: asked.scope, detail: denied });
      const open = await this.#options.store.consents.pendingOf(session.id);
      const alike = open.find((question) => isAlike(question, asked));
      if (alike !== undefined) {
        await this.#options.store.consents.fold(asConsentId(alike.id));
        this.#options.onQuestion({ ...alike, count: alike.count + 1 });
        return { id: alike.id, expiresAt: alike.expiresAt, digest: alike.digest };
      }
      if (open.length >= limits.consentPending.value) {
        throw new GloveboxError('GB_LIMIT_REACHED', {
          limit: 'consentPending',
          detail: `${open.length} questions of this session wait for an answer`,
        });
      }
      this.#scopeRate.count(`${session.id} ${asked.scope}`);
      const question = this.#question(session, session.turnId, request);
      await this.#options.store.consents.insert(question);
      this.#expireLater(question);
      this.#options.onQuestion(question);
      return { id: question.id, expiresAt: question.expiresAt, digest: question.digest };
    });
  }

  #question(session: SessionRecord, turnId: string, request: ConsentRequest): ConsentQuestion {
    const { clock, ids } = this.#options;
    const now = clock.now();
    const shown = {
      id: ids.consent(),
      sessionId: session.id,
      sessionName: session.name,
      user: session.user,
      turnId,
      scope: auditText(request.scope),
      operation: auditText(request.operation),
      host: request.host === null ? null : auditText(request.host),
      argumentsText: request.argumentsText,
      argsHash: request.argsHash,
      reason: request.reason,
      createdAt: new Date(now).toISOString(),
      expiresAt: new Date(now + limits.consentWait.value).toISOString(),
    };
    return { ...shown, digest: digestOf(shownText(shown)), state: 'pending', count: 1 };
  }

  async approve(id: string, digest: string, mode: ConsentMode, user: UserId): Promise<ConsentQuestion> {
    const question = await this.#pending(id, digest, user);
    // One answer after the other: what is written down here is the answer that counts.
    return await this.#queue.run(question.sessionId as SessionId, async () => {
      await this.#stillPending(question);
      return await this.#approve(question, mode, user);
    });
  }

  async #approve(question: ConsentQuestion, mode: ConsentMode, user: UserId): Promise<ConsentQuestion> {
    const { store, ids, clock, control, signConsent, signerId, sidecarId } = this.#options;
    const session = await this.#openSession(question);
    const iat = Math.floor(clock.now() / 1000);
    const token = await signConsent({
      iss: signerId,
      aud: sidecarId(session.id),
      sub: question.user,
      session_id: session.id,
      sandbox_id: session.sandboxId,
      scope: question.scope,
      challenge_id: question.id,
      args_hash: question.argsHash,
      turn_id: question.turnId,
      mode,
      digest: question.digest,
      jti: ids.token(),
      iat,
      exp: iat + limits.consentTokenLifetime.value / 1000,
    });
    // Written down before it is so: where that fails the question stays open, and can be answered again (R42).
    await this.#record(question, 'allow', `consent.${mode}`, user);
    if (!(await store.consents.answer(asConsentId(question.id), 'approved'))) throw answered(question);
    await control.say(session.id, { type: 'consent', challenge_id: question.id, answer: 'approved', token });
    return this.#answered({ ...question, state: 'approved' });
  }

  async deny(id: string, digest: string, user: UserId): Promise<ConsentQuestion> {
    const question = await this.#pending(id, digest, user);
    const refused = await this.#refuse(question, 'denied', user);
    const [session, now] = [question.sessionId as SessionId, this.#options.clock.now()];
    const before = this.#denials.get(session) ?? [];
    this.#denials.set(session, remembered([...before, { ...question, at: now }], now));
    return refused;
  }

  /** Taken back by the session that asked; false where it is answered already, or was another's. */
  async cancel(session: SessionRecord, id: string): Promise<{ cancelled: boolean }> {
    const question = isId(id) ? await this.#options.store.consents.get(asConsentId(id)) : undefined;
    if (question?.sessionId !== session.id || question.state !== 'pending') return { cancelled: false };
    try {
      await this.#refuse(question, 'denied', null, 'cancelled');
    } catch (error) {
      // Somebody answered at the same moment: their answer stands.
      if (error instanceof GloveboxError && error.code === 'GB_SESSION_STATE') return { cancelled: false };
      throw error;
    }
    return { cancelled: true };
  }

  /** Spends a token of the calling session, once, and makes the grant in the same step (R6, R37). */
  async consume(session: SessionRecord, token: string): Promise<{ grantId: string }> {
    const { store, verifyConsent, signerId, sidecarId, ids, clock } = this.#options;
    if (session.state !== 'running' && session.state !== 'preparing') throw notOpen(session, 'a grant');
    const claims = await verifyConsent(token, {
      iss: signerId,
      aud: sidecarId(session.id),
      sub: session.user,
      session_id: session.id,
      sandbox_id: session.sandboxId,
    });
    const question = await store.consents.get(asConsentId(claims.challenge_id));
    const same =
      question?.state === 'approved' &&
      question.sessionId === session.id &&
      question.scope === claims.scope &&
      question.argsHash === claims.args_hash &&
      question.turnId === claims.turn_id &&
      question.digest === claims.digest;
    if (!same) {
      throw new GloveboxError('GB_CONSENT_DENIED', {
        scope: claims.scope,
        detail: 'no approved question is behind it',
      });
    }
    const id = ids.grant();
    const redeemed = await store.grants.redeem(claims.jti, {
      id,
      sessionId: session.id,
      user: asUserId(claims.sub),
      scope: claims.scope,
      mode: claims.mode,
      challengeId: asConsentId(claims.challenge_id),
      createdAt: new Date(clock.now()).toISOString(),
      revokedAt: null,
      expiresAt: session.expiresAt,
      usedAt: null,
    });
    if (!redeemed) throw new GloveboxError('GB_TOKEN_REPLAYED');
    return { grantId: id };
  }

  async list(all: boolean): Promise<readonly ConsentQuestion[]> {
    return await this.#options.store.consents.list({ pendingOnly: !all, limit: limits.listLength.value });
  }

  /** The session is over: what it asked is denied, what it was granted is void. */
  async endOf(session: SessionId): Promise<void> {
    const { store, clock } = this.#options;
    await this.#queue.run(session, async () => {
      for (const question of await store.consents.pendingOf(session)) {
        if (await store.consents.answer(asConsentId(question.id), 'expired')) {
          this.#answered({ ...question, state: 'expired' });
        }
      }
      await store.grants.revokeOf(session, new Date(clock.now()).toISOString());
      this.#denials.delete(session);
    });
  }

  /** The policy changed: what it no longer leaves to a person is neither asked any more nor granted. */
  async narrow(session: SessionId, leavesToPerson: (scope: string) => boolean): Promise<void> {
    const { store, clock } = this.#options;
    await this.#queue.run(session, async () => {
      const over = (await store.grants.listOf(session)).filter(({ scope }) => !leavesToPerson(scope));
      const at = new Date(clock.now()).toISOString();
      await store.grants.revokeOf(
        session,
        at,
        over.map(({ id }) => id),
      );
    });
    for (const question of await store.consents.pendingOf(session)) {
      if (!leavesToPerson(question.scope)) await this.#refuse(question, 'denied', null, 'policy-changed');
    }
  }

  /** After a restart: nobody waits for these any more. */
  async expireOverdue(): Promise<void> {
    const { store } = this.#options;
    for (const question of await store.consents.list({ pendingOnly: true, limit: limits.listLength.value })) {
      await store.consents.answer(asConsentId(question.id), 'expired');
    }
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #pending(id: string, digest: string, user: UserId): Promise<ConsentQuestion> {
    const question = isId(id) ? await this.#options.store.consents.get(asConsentId(id)) : undefined;
    if (question === undefined) {
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such question', detail: 'it was never asked here' });
    }
    // R39: on one machine the person at the operator socket is the session's user; anybody else's answer counts for nothing.
    if (question.user !== user) {
      throw new GloveboxError('GB_CALLER_MISMATCH', { named: question.user, caller: user });
    }
    if (question.state !== 'pending') throw answered(question);
    if (this.#options.clock.now() >= Date.parse(question.expiresAt)) {
      await this.#refuse(question, 'expired', null);
      throw answered({ ...question, state: 'expired' });
    }
    if (!equal(digest, question.digest)) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: 'The answer',
        detail: 'it is for something other than what was asked',
      });
    }
    return question;
  }

  async #stillPending(question: ConsentQuestion): Promise<void> {
    const now = await this.#options.store.consents.get(asConsentId(question.id));
    if (now?.state !== 'pending') throw answered(now ?? question);
  }

  async #openSession(question: ConsentQuestion): Promise<SessionRecord> {
    const session = await this.#options.store.sessions.get(question.sessionId as SessionId);
    if (session === undefined || (session.state !== 'running' && session.state !== 'preparing')) {
      throw new GloveboxError('GB_SESSION_STATE', {
        state: session?.state ?? 'unknown',
        operation: 'an answer',
        needed: 'running',
      });
    }
    return session;
  }

  async #refuse(
    question: ConsentQuestion,
    state: 'denied' | 'expired',
    user: UserId | null,
    why: string = state,
  ): Promise<ConsentQuestion> {
    const { store, control } = this.#options;
    await this.#queue.run(question.sessionId as SessionId, async () => {
      if (!(await store.consents.answer(asConsentId(question.id), state))) throw answered(question);
    });
    // A denial takes effect whether or not it can be written down.
    await control.say(question.sessionId as SessionId, {
      type: 'consent',
      challenge_id: question.id,
      answer: state,
      token: null,
    });
    await this.#record(question, 'deny', `consent.${why}`, user);
    return this.#answered({ ...question, state });
  }

  async #record(
    question: ConsentQuestion,
    decision: 'allow' | 'deny',
    rule: string,
    user: UserId | null,
  ): Promise<void> {
    await this.#options.audit.record({
      session: question.sessionId as SessionId,
      turn: asTurnId(question.turnId),
      operation: 'consent.answer',
      scope: question.scope,
      args_hash: question.argsHash,
      decision,
      rule,
      detail: `question ${question.id}`,
      user,
    });
  }

  #answered(question: ConsentQuestion): ConsentQuestion {
    clearTimeout(this.#timers.get(question.id));
    this.#timers.delete(question.id);
    this.#options.onQuestion(question);
    return question;
  }

  #expireLater(question: ConsentQuestion): void {
    const wait = Math.max(0, Date.parse(question.expiresAt) - this.#options.clock.now());
    const timer = setTimeout(() => {
      this.#refuse(question, 'expired', null).catch((error: unknown) => {
        // Somebody answered at the last moment, or the session is over: both have had their say already.
        if (!(error instanceof GloveboxError) || error.code !== 'GB_SESSION_STATE') {
          this.#options.onError(error, 'letting a question expire');
        }
      });
    }, wait);
    timer.unref();
    this.#timers.set(question.id, timer);
  }
}

/** As the question will hold it. */
const askedBy = (request: ConsentRequest): Asked => ({
  scope: auditText(request.scope),
  operation: auditText(request.operation),
  host: request.host === null ? null : auditText(request.host),
  argsHash: request.argsHash,
  turnId: request.turnId,
});

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

const equal = (a: string, b: string): boolean =>
  timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
