import { createHash, randomBytes } from 'node:crypto';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';

/** What a browser shows with each request: the cookie comes by itself, the key only from a script of our own page. */
export interface BrowserProof {
  readonly cookie: string;
  readonly key: string;
}

export interface BrowserLogin {
  readonly expiresAt: number;
  /** Called when it ends: whatever it holds open ends with it. */
  readonly onEnd: Set<() => void>;
}

const fresh = (): string => randomBytes(32).toString('base64url');
/** Looked up by digest: how long a comparison takes tells nothing of the value. */
const digest = (...parts: readonly string[]): string =>
  createHash('sha256').update(parts.join('.')).digest('base64url');

/**
 * Who is logged in. It lives in memory: after a restart nobody is. A token becomes a login once, however many ask at the same
 * moment, since taking it away and looking at it are one step.
 */
export class BrowserLogins {
  readonly #now: () => number;
  readonly #waiting = new Map<string, number>();
  readonly #spent = new Map<string, number>();
  readonly #logins = new Map<string, BrowserLogin>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A token for one login; the oldest goes where too many wait. */
  issue(): { readonly token: string; readonly expiresAt: number } {
    this.#forget();
    const token = fresh();
    const expiresAt = this.#now() + limits.browserToken.value;
    this.#waiting.set(digest(token), expiresAt);
    for (const oldest of this.#waiting.keys()) {
      if (this.#waiting.size <= limits.browserLogins.value) break;
      this.#waiting.delete(oldest);
    }
    return { token, expiresAt };
  }

  /** GB_TOKEN_REPLAYED for one that was used, GB_TOKEN_INVALID for any other that is not good. */
  redeem(token: string): BrowserProof & { readonly expiresAt: number } {
    this.#forget();
    const name = digest(token);
    if (this.#spent.has(name)) throw new GloveboxError('GB_TOKEN_REPLAYED');
    const until = this.#waiting.get(name);
    if (until === undefined)
      throw new GloveboxError('GB_TOKEN_INVALID', { detail: 'it is unknown, or older than a minute' });
    this.#waiting.delete(name);
    this.#spent.set(name, until);
    const proof = { cookie: fresh(), key: fresh() };
    const expiresAt = this.#now() + limits.browserLogin.value;
    this.#logins.set(digest(proof.cookie, proof.key), { expiresAt, onEnd: new Set() });
    for (const oldest of this.#logins.keys()) {
      if (this.#logins.size <= limits.browserLogins.value) break;
      this.#end(oldest);
    }
    return { ...proof, expiresAt };
  }

  find(proof: BrowserProof): BrowserLogin | undefined {
    this.#forget();
    return this.#logins.get(digest(proof.cookie, proof.key));
  }

  end(proof: BrowserProof): boolean {
    return this.#end(digest(proof.cookie, proof.key));
  }

  endAll(): void {
    this.#waiting.clear();
    for (const name of [...this.#logins.keys()]) this.#end(name);
  }

  #end(name: string): boolean {
    const login = this.#logins.get(name);
    this.#logins.delete(name);
    for (const end of login?.onEnd ?? []) end();
    return login !== undefined;
  }

  #forget(): void {
    const now = this.#now();
    for (const map of [this.#waiting, this.#spent])
      for (const [name, until] of map) if (until <= now) map.delete(name);
    for (const [name, login] of this.#logins) if (login.expiresAt <= now) this.#end(name);
  }
}
