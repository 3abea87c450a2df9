import {
  asTurnId,
  GloveboxError,
  isId,
  type ConsentQuestion,
  limits,
  type GrantId,
  type GrantView,
  type SessionId,
  type UserId,
  type WorkloadRoutes,
} from '../../../pure/contracts/index.ts';
import { grantState } from '../../../pure/consent/index.ts';
import { scopeMatches } from '../../../pure/policy/index.ts';
import type { z } from 'zod';
import type { Grant, SessionRecord, Store } from '../../store/index.ts';
import type { AuditTrail, Clock } from '../ports.ts';
import type { ControlChannel } from '../sessions/control-channel.ts';

export type GrantUse = z.infer<WorkloadRoutes['useGrant']['body']>;

export interface GrantServiceOptions {
  readonly store: Pick<Store, 'consents' | 'grants' | 'sessions' | 'turns'>;
  readonly control: Pick<ControlChannel, 'say'>;
  readonly audit: AuditTrail;
  readonly clock: Clock;
}

/** What people granted, as the store has it: used, listed, explained, taken back. Whatever is not certain is no. */
export class GrantService {
  readonly #options: GrantServiceOptions;

  constructor(options: GrantServiceOptions) {
    this.#options = options;
  }

  /**
   * One use, by one operation of the calling session. Each use comes here, of a grant for the session too: what was revoked serves
   * nobody, whether or not its sidecar has heard of it; of 100 uses of a once-grant the store lets one be (R37).
   */
  async use(session: SessionRecord, use: GrantUse): Promise<{ used: boolean }> {
    const { store, clock } = this.#options;
    const no = { used: false };
    if (session.state !== 'running' && session.state !== 'preparing') return no;
    const grant = isId(use.grantId) ? await store.grants.get(use.grantId as GrantId) : undefined;
    const user = await this.#userOf(session, use.turnId);
    if (grant?.sessionId !== session.id || user === undefined || grant.user !== user) return no;
    if (!scopeMatches(grant.scope, use.scope)) return no;
    if (grant.mode === 'once') {
      const question = await store.consents.get(grant.challengeId);
      // What was shown with arguments is for these and no others.
      if (question === undefined || (question.argumentsText !== '' && question.argsHash !== use.argsHash))
        return no;
    }
    const key = { sessionId: session.id, user: grant.user, scope: grant.scope, id: grant.id };
    return { used: (await store.grants.use(key, new Date(clock.now()).toISOString())) !== undefined };
  }

  async list(session: SessionId | null, all: boolean): Promise<GrantView[]> {
    const { store, clock } = this.#options;
    const now = new Date(clock.now()).toISOString();
    const found =
      session === null
        ? await store.grants.list({ openAt: all ? null : now, limit: limits.listLength.value })
        : (await store.grants.listOf(session)).filter((grant) => all || grantState(grant, now) === 'open');
    return await Promise.all(found.map(async (grant) => await this.#view(grant)));
  }

  async get(id: string): Promise<Grant> {
    const grant = isId(id) ? await this.#options.store.grants.get(id as GrantId) : undefined;
    if (grant === undefined)
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such grant', detail: 'it was never made here' });
    return grant;
  }

  async explain(id: string): Promise<{ grant: GrantView; question: ConsentQuestion | null }> {
    const grant = await this.get(id);
    return {
      grant: await this.#view(grant),
      question: (await this.#options.store.consents.get(grant.challengeId)) ?? null,
    };
  }

  /** First so in the store, then said: a sidecar that does not hear it finds no grant at the next use. */
  async revoke(id: string, by: UserId): Promise<GrantView> {
    const { store, control, audit, clock } = this.#options;
    const grant = await this.get(id);
    await store.grants.revokeOf(grant.sessionId, new Date(clock.now()).toISOString(), [grant.id]);
    const session = await store.sessions.get(grant.sessionId);
    if (session !== undefined && session.state !== 'ended')
      await control.say(grant.sessionId, { type: 'grant-revoked', grant_id: grant.id });
    await audit.record({
      session: grant.sessionId,
      operation: 'grant.revoke',
      scope: grant.scope,
      grant: grant.id,
      decision: 'allow',
      rule: 'operator',
      detail: `of ${grant.user}`,
      user: by,
      ...(session === undefined ? {} : { sandbox: session.sandboxId }),
    });
    return await this.#view(await this.get(id));
  }

  /** Whose turn it was when the operation came: it may have ended meanwhile, but not have been another session's. */
  async #userOf(session: SessionRecord, turnId: string): Promise<UserId | undefined> {
    const turn = isId(turnId) ? await this.#options.store.turns.get(asTurnId(turnId)) : undefined;
    return turn?.sessionId === session.id ? turn.user : undefined;
  }

  async #view(grant: Grant): Promise<GrantView> {
    const { store, clock } = this.#options;
    const { challengeId: _, ...shown } = grant;
    const session = await store.sessions.get(grant.sessionId);
    return {
      ...shown,
      sessionName: session?.name ?? 'unknown',
      state: grantState(grant, new Date(clock.now()).toISOString()),
    };
  }
}
