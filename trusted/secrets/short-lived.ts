import { limits } from '../../pure/contracts/index.ts';

/** A credential that ends by itself, made from one that does not. */
export interface ShortLived {
  readonly value: string;
  /** Ms of the epoch. */
  readonly expiresAt: number;
}

type Entry =
  | { readonly state: 'asked'; readonly answer: Promise<ShortLived> }
  | { readonly state: 'had'; readonly credential: ShortLived }
  | { readonly state: 'failed'; readonly error: unknown; readonly until: number };

/**
 * Short-lived credentials by what they were made for, kept until shortly before their end. Any number of requests at the same time
 * ask once; a failure stands for a moment, so that an agent in a loop does not become a flood on somebody's token endpoint.
 */
export class ShortLivedCredentials {
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  async get(secret: string, purpose: string, make: () => Promise<ShortLived>): Promise<string> {
    const ofSecret = this.#entries.get(secret) ?? new Map<string, Entry>();
    this.#entries.set(secret, ofSecret);
    const known = ofSecret.get(purpose);
    if (known?.state === 'asked') return (await known.answer).value;
    if (known?.state === 'failed' && known.until > this.#now()) throw known.error;
    if (known?.state === 'had' && this.#fresh(known.credential)) return known.credential.value;
    const entry: Entry = { state: 'asked', answer: make() };
    ofSecret.delete(purpose);
    if (ofSecret.size >= limits.credentialPurposes.value) ofSecret.delete(ofSecret.keys().next().value ?? '');
    ofSecret.set(purpose, entry);
    // Only in its own place: a secret that was set anew meanwhile must not get an answer for the one before.
    const settle = (next: Entry): void => {
      if (ofSecret.get(purpose) === entry) ofSecret.set(purpose, next);
    };
    try {
      const credential = await entry.answer;
      settle({ state: 'had', credential });
      return credential.value;
    } catch (error) {
      settle({ state: 'failed', error, until: this.#now() + limits.credentialRetry.value });
      throw error;
    }
  }

  /** The secret was changed or removed. */
  forget(secret: string): void {
    this.#entries.get(secret)?.clear();
    this.#entries.delete(secret);
  }

  /** One that would end while the request is on its way is not handed out; one that lives shorter than that margin is used once. */
  #fresh({ expiresAt }: ShortLived): boolean {
    return expiresAt - limits.credentialMargin.value > this.#now();
  }
}
