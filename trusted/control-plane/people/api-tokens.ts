import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  GloveboxError,
  limits,
  tokenOperations,
  type ApiTokenView,
  type OperatorCaller,
  type TokenScope,
  type UserId,
} from '../../../pure/contracts/index.ts';
import type { ApiToken, ApiTokenStore } from '../../store/index.ts';
import type { AuditTrail, Clock } from '../ports.ts';
import type { Ids } from '../random-ids.ts';

const form = /^gbt_([a-z2-7]{26})_([A-Za-z0-9_-]{43})$/;
const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export interface ApiTokensOptions {
  readonly store: ApiTokenStore;
  readonly audit: AuditTrail;
  readonly clock: Clock;
  readonly ids: Pick<Ids, 'token'>;
}

/** Tokens for programs: of one person, for some operations, for a time. None of them answers a question or makes another (R39). */
export class ApiTokens {
  readonly #options: ApiTokensOptions;

  constructor(options: ApiTokensOptions) {
    this.#options = options;
  }

  async create(
    wanted: {
      readonly name: string;
      readonly scopes: readonly TokenScope[];
      readonly expiresInSeconds: number;
    },
    user: UserId,
  ): Promise<{ token: string; view: ApiTokenView }> {
    const { store, clock, ids } = this.#options;
    const now = clock.now();
    if (wanted.expiresInSeconds * 1000 > limits.apiTokenTime.value) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'apiTokenTime',
        detail: `a token lasts ${limits.apiTokenTime.value / 86_400_000} days at most`,
      });
    }
    if ((await store.countGood(user, new Date(now).toISOString())) >= limits.apiTokens.value) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'apiTokens',
        detail: `${limits.apiTokens.value} tokens of this person are good`,
      });
    }
    const secret = randomBytes(32).toString('base64url');
    const token: ApiToken = {
      id: ids.token(),
      name: wanted.name,
      user,
      scopes: [...new Set(wanted.scopes)],
      digest: digestOf(secret),
      createdAt: new Date(now).toISOString(),
      expiresAt: new Date(now + wanted.expiresInSeconds * 1000).toISOString(),
      revokedAt: null,
    };
    await this.#record('token.create', token, user);
    await store.insert(token);
    return { token: `gbt_${token.id}_${secret}`, view: this.#view(token) };
  }

  async list(): Promise<ApiTokenView[]> {
    return (await this.#options.store.list(limits.listLength.value)).map((token) => this.#view(token));
  }

  async revoke(id: string, user: UserId): Promise<ApiTokenView> {
    const { store, clock } = this.#options;
    const token = await store.get(id);
    if (token === undefined)
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such token', detail: 'it was never made here' });
    // It ends whether or not it can be written down.
    await store.revoke(id, new Date(clock.now()).toISOString());
    await this.#record('token.revoke', token, user);
    return this.#view((await store.get(id)) ?? token);
  }

  /** Whom a request's `Authorization` makes its caller, for this operation only; throws for whatever is not good now. */
  async callerOf(header: string, operation: string): Promise<OperatorCaller> {
    const [, id, secret] = form.exec(/^Bearer (\S+)$/.exec(header)?.[1] ?? '') ?? [];
    const token = id === undefined ? undefined : await this.#options.store.get(id);
    const given = Buffer.from(digestOf(secret ?? ''), 'hex');
    const kept = Buffer.from(token?.digest ?? digestOf('no such token'), 'hex');
    if (token === undefined || !timingSafeEqual(given, kept) || this.#state(token) !== 'good')
      throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it is unknown, revoked or expired' });
    const needed = tokenOperations[operation];
    if (needed === undefined || !token.scopes.includes(needed)) {
      throw new GloveboxError('GB_CALLER_REFUSED', {
        operation: `${operation} by an API token`,
        allowed: needed === undefined ? 'a person’s login' : `a token with the scope ${needed}`,
      });
    }
    // Proven by the secret that is compared above: the one cast by which a token is somebody (R2).
    return Object.freeze({ kind: 'operator', user: token.user, by: 'token' }) as unknown as OperatorCaller;
  }

  #state(token: ApiToken): ApiTokenView['state'] {
    if (token.revokedAt !== null) return 'revoked';
    return token.expiresAt <= new Date(this.#options.clock.now()).toISOString() ? 'expired' : 'good';
  }

  #view(token: ApiToken): ApiTokenView {
    const { digest: _, revokedAt: __, ...shown } = token;
    return { ...shown, scopes: [...token.scopes], state: this.#state(token) };
  }

  async #record(operation: string, token: ApiToken, user: UserId): Promise<void> {
    await this.#options.audit.record({
      session: 'system',
      operation,
      decision: 'allow',
      rule: 'operator',
      user,
      detail: `${token.id} (${token.name}): ${token.scopes.join(', ')}, until ${token.expiresAt}`,
    });
  }
}
