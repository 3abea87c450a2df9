import { GloveboxError, limits, type SessionId } from '../../pure/contracts/index.ts';
import type { SecretBackend, SecretListing } from './backend.ts';
import { checkIntent, refused, type StoredIntent } from './intent-check.ts';
import type { SealingKey } from './sealing-key.ts';

export interface SecretBrokerOptions {
  readonly backend: SecretBackend;
  readonly sealingKey: SealingKey;
  readonly readStored: (sequence: number) => Promise<StoredIntent | undefined>;
  /** The secrets that a session was made with, asked of the control plane as the broker. */
  readonly bindings: (session: SessionId) => Promise<readonly string[]>;
  readonly now: () => number;
}

/** Opens values for those who may have one, once for each stored intent. Every error is a refusal. */
export class SecretBroker {
  readonly #options: SecretBrokerOptions;
  /** Sequences that were used, with the time after which their intent is too old anyway. */
  readonly #used = new Map<number, number>();

  readonly #startedAt: number;

  constructor(options: SecretBrokerOptions) {
    this.#options = options;
    this.#startedAt = options.now();
  }

  get publicJwk(): Record<string, unknown> {
    return { ...this.#options.sealingKey.publicJwk };
  }

  async put(name: string, sealed: string): Promise<SecretListing> {
    return await this.#options.backend.put(name, await this.#options.sealingKey.open(sealed, name));
  }

  async list(): Promise<readonly SecretListing[]> {
    return await this.#options.backend.list();
  }

  async remove(name: string): Promise<{ name: string }> {
    if (await this.#options.backend.remove(name)) return { name };
    throw new GloveboxError('GB_NOT_FOUND', { what: `secret ${name}`, detail: 'it was never set' });
  }

  /** `session` is that of the caller's certificate. */
  async read(session: SessionId, secret: string, intentSeq: number): Promise<{ value: string }> {
    const { bindings, readStored, backend, now } = this.#options;
    const bound = await bindings(session);
    if (!bound.includes(secret)) throw refused('this session was not made with that secret');
    const intent = checkIntent(await readStored(intentSeq), { session, secret, nowMs: now() });
    // What a predecessor of this process has handed out is not known: its intents are spent.
    if (Date.parse(intent.time) < this.#startedAt)
      throw refused('the secret broker was started after the intent');
    // Spent before the value is opened, and in one turn of the event loop with the look: of 100 racing reads one goes on.
    if (!this.#spend(intentSeq)) throw refused('the intent was used before');
    const value = await backend.read(secret);
    if (value === undefined)
      throw new GloveboxError('GB_NOT_FOUND', { what: `secret ${secret}`, detail: 'it was removed' });
    return { value: value.reveal() };
  }

  #spend(sequence: number): boolean {
    const now = this.#options.now();
    for (const [spent, until] of this.#used) if (until <= now) this.#used.delete(spent);
    if (this.#used.has(sequence)) return false;
    this.#used.set(sequence, now + 2 * limits.secretIntentAge.value);
    return true;
  }
}
