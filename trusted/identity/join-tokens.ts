import { createHash, randomBytes } from 'node:crypto';
import { GloveboxError, limits, type SpiffeId } from '../../pure/contracts/index.ts';
import type { IdentityStore } from './port.ts';

const bytes = 32;
const pattern = /^[A-Za-z0-9_-]{43}$/;

export interface Joined {
  readonly spiffeId: SpiffeId;
  readonly lineage: string;
}

/**
 * One-time tokens for the first certificate [R6]. A token travels over an inherited descriptor to the one process that
 * it is for; the store holds its hash only, so a copy of the database joins nothing.
 */
export class JoinTokens {
  readonly #store: Pick<IdentityStore, 'insertHash' | 'consumeHash'>;
  readonly #now: () => number;

  constructor(store: Pick<IdentityStore, 'insertHash' | 'consumeHash'>, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  async create(spiffeId: SpiffeId, lifetimeMs: number = limits.joinTokenLifetime.value): Promise<string> {
    const lifetime = Math.min(lifetimeMs, limits.joinTokenLifetime.value);
    const token = randomBytes(bytes).toString('base64url');
    await this.#store.insertHash(hashOf(token), { spiffeId, expiresAt: this.#now() + lifetime });
    return token;
  }

  /** Whom the token is for, and the lineage that it begins. Uses it up, whatever comes after: a token that failed once is not tried again. */
  async consume(token: string): Promise<Joined> {
    if (!pattern.test(token)) throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it is no join token' });
    // Looked up by its hash: how long that takes says nothing about a token.
    const lineage = hashOf(token);
    const use = await this.#store.consumeHash(lineage);
    switch (use.state) {
      case 'unknown':
        throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it is no join token' });
      case 'used':
        throw new GloveboxError('GB_TOKEN_REPLAYED');
      case 'fresh':
        if (this.#now() >= use.binding.expiresAt) {
          throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it has expired' });
        }
        return { spiffeId: use.binding.spiffeId, lineage };
    }
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
