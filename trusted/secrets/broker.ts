import {
  canonicalNarrowing,
  GloveboxError,
  limits,
  type CredentialUse,
  type GitHubNarrowing,
  type OAuthSecret,
  Secret,
  type SessionId,
  type SignedRequest,
  type ToBeSigned,
} from '../../pure/contracts/index.ts';
import { maySign } from '../../pure/egress/index.ts';
import { signAws } from './aws.ts';
import type { SecretBackend, SecretListing } from './backend.ts';
import { installationToken } from './github-app.ts';
import { checkIntent, refused, type StoredIntent } from './intent-check.ts';
import { kindProblem, opened, type OpenedSecret } from './kinds.ts';
import { refresh } from './oauth.ts';
import { OutgoingFailed, type CallOut } from './outgoing.ts';
import type { SealingKey } from './sealing-key.ts';
import { ShortLivedCredentials, type ShortLived } from './short-lived.ts';

/** What a session was made with: its secrets, and what its rules use them for. */
export interface SessionBindings {
  readonly secrets: readonly string[];
  readonly uses: readonly CredentialUse[];
}

export interface SecretBrokerOptions {
  readonly backend: SecretBackend;
  readonly sealingKey: SealingKey;
  readonly readStored: (sequence: number) => Promise<StoredIntent | undefined>;
  /** Asked of the control plane as the broker. */
  readonly bindings: (session: SessionId) => Promise<SessionBindings>;
  readonly call: CallOut;
  /** A token endpoint was asked, or did not give what it should: for the audit trail; never a value. */
  readonly onAsked: (asked: {
    readonly secret: string;
    readonly host: string;
    readonly failure: string | null;
  }) => void;
  readonly now: () => number;
}

/** Opens values for those who may have one, once for each stored intent. Every error is a refusal. */
export class SecretBroker {
  readonly #options: SecretBrokerOptions;
  readonly #shortLived: ShortLivedCredentials;
  /** Sequences that were used, with the time after which their intent is too old anyway. */
  readonly #used = new Map<number, number>();
  /** A refresh token that took another's place and could not be stored yet: the one before is worth nothing any more. */
  readonly #unstored = new Map<string, { readonly before: string; readonly after: string }>();
  readonly #startedAt: number;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: SecretBrokerOptions) {
    this.#options = options;
    this.#shortLived = new ShortLivedCredentials(options.now);
    this.#startedAt = options.now();
  }

  get publicJwk(): Record<string, unknown> {
    return { ...this.#options.sealingKey.publicJwk };
  }

  async put(name: string, sealed: string): Promise<SecretListing> {
    const secret = await this.#options.sealingKey.open(sealed, name);
    const problem = kindProblem(secret);
    if (problem !== null)
      throw new GloveboxError('GB_INPUT_INVALID', { what: `The ${secret.kind} secret`, detail: problem });
    return await this.#inTurn(async () => {
      const listing = await this.#options.backend.put(name, secret);
      this.#forget(name);
      return listing;
    });
  }

  async list(): Promise<readonly SecretListing[]> {
    return await this.#options.backend.list();
  }

  async remove(name: string): Promise<{ name: string }> {
    return await this.#inTurn(async () => {
      this.#forget(name);
      if (await this.#options.backend.remove(name)) return { name };
      throw new GloveboxError('GB_NOT_FOUND', { what: `secret ${name}`, detail: 'it was never set' });
    });
  }

  /** What may go into one request. `session` is that of the caller's certificate. */
  async read(
    session: SessionId,
    secret: string,
    intentSeq: number,
    github?: GitHubNarrowing,
  ): Promise<{ value: string }> {
    const { uses } = await this.#permitted(session, secret, intentSeq);
    const stored = await this.#open(secret);
    switch (stored.kind) {
      case 'text':
        return { value: stored.text };
      case 'oauth':
        return { value: await this.#accessToken(secret, stored.oauth) };
      case 'github-app': {
        if (github === undefined)
          throw refused('the rule names no repositories and permissions for this app');
        const purpose = canonicalNarrowing(github);
        if (
          !uses.some(
            (use) => use.secret === secret && use.github && canonicalNarrowing(use.github) === purpose,
          )
        )
          throw refused('no rule of this session asks for these repositories and permissions');
        const { app } = stored;
        return {
          value: await this.#shortLived.get(secret, purpose, () =>
            this.#asked(secret, 'github-app', app.apiUrl, () =>
              installationToken(app, github, this.#options.call, this.#options.now),
            ),
          ),
        };
      }
      case 'aws':
        throw refused('an AWS key signs requests; its rule needs the carrier aws:<service>:<region>');
    }
  }

  /** A signature for one request that a rule of the session lets out; the key stays here. */
  async sign(
    session: SessionId,
    secret: string,
    intentSeq: number,
    request: ToBeSigned,
  ): Promise<SignedRequest> {
    const { uses } = await this.#permitted(session, secret, intentSeq);
    if (!maySign(uses, secret, request)) throw refused('no rule of this session signs that request');
    const stored = await this.#open(secret);
    if (stored.kind !== 'aws') throw refused('that secret is no AWS key');
    const signed = await signAws(stored.aws, request, this.#options.now());
    if (signed === undefined) throw refused('the address has an encoding that cannot be signed');
    return signed;
  }

  async #permitted(session: SessionId, secret: string, intentSeq: number): Promise<SessionBindings> {
    const { bindings, readStored, now } = this.#options;
    const bound = await bindings(session);
    if (!bound.secrets.includes(secret)) throw refused('this session was not made with that secret');
    const intent = checkIntent(await readStored(intentSeq), { session, secret, nowMs: now() });
    // What a predecessor of this process has handed out is not known: its intents are spent.
    if (Date.parse(intent.time) < this.#startedAt)
      throw refused('the secret broker was started after the intent');
    // Spent before the value is opened, and in one turn of the event loop with the look: of 100 racing reads one goes on.
    if (!this.#spend(intentSeq)) throw refused('the intent was used before');
    return bound;
  }

  async #open(secret: string): Promise<OpenedSecret> {
    const value = await this.#options.backend.read(secret);
    if (value !== undefined) return opened(secret, value);
    throw new GloveboxError('GB_NOT_FOUND', { what: `secret ${secret}`, detail: 'it was removed' });
  }

  #accessToken(name: string, stored: OAuthSecret): Promise<string> {
    return this.#shortLived.get(name, '', () =>
      this.#asked(name, 'oauth', stored.tokenEndpoint, async () => {
        const unstored = this.#unstored.get(name);
        const oauth =
          unstored?.before === stored.refreshToken ? { ...stored, refreshToken: unstored.after } : stored;
        const { rotated, ...token } = await refresh(oauth, this.#options.call, this.#options.now);
        const newest = rotated ?? oauth.refreshToken;
        // Stored before the token is used: the one before may be worth nothing from here on.
        if (newest !== stored.refreshToken) await this.#replace(name, stored, newest);
        return token;
      }),
    );
  }

  /** The new refresh token in the old one's place, unless a person has set the secret anew meanwhile. */
  async #replace(name: string, before: OAuthSecret, refreshToken: string): Promise<void> {
    this.#unstored.set(name, { before: before.refreshToken, after: refreshToken });
    await this.#inTurn(async () => {
      const stored = await this.#options.backend.read(name);
      const current = stored === undefined ? undefined : opened(name, stored);
      if (current?.kind === 'oauth' && JSON.stringify(current.oauth) === JSON.stringify(before)) {
        const value = new Secret(JSON.stringify({ ...before, refreshToken }));
        await this.#options.backend.put(name, { kind: 'oauth', value }).catch((error: unknown) => {
          throw error instanceof GloveboxError
            ? error
            : new OutgoingFailed(
                'its new refresh token could not be stored; it is kept in memory until it can',
              );
        });
      }
      this.#unstored.delete(name);
    });
  }

  async #asked<T extends ShortLived>(
    secret: string,
    kind: 'oauth' | 'github-app',
    address: string,
    ask: () => Promise<T>,
  ): Promise<T> {
    const { host } = new URL(address);
    try {
      const credential = await ask();
      this.#options.onAsked({ secret, host, failure: null });
      return credential;
    } catch (error) {
      const why = error instanceof OutgoingFailed ? error.message : 'it failed';
      this.#options.onAsked({ secret, host, failure: why });
      throw error instanceof GloveboxError
        ? error
        : new GloveboxError('GB_CREDENTIAL_UNAVAILABLE', { name: secret, kind, detail: `${host}: ${why}` });
    }
  }

  #forget(name: string): void {
    this.#shortLived.forget(name);
    this.#unstored.delete(name);
  }

  /** Writes follow each other: a rotated token must not undo what a person has just set. */
  #inTurn<T>(write: () => Promise<T>): Promise<T> {
    const next = this.#writing.then(write);
    this.#writing = next.catch(() => undefined);
    return next;
  }

  #spend(sequence: number): boolean {
    const now = this.#options.now();
    for (const [spent, until] of this.#used) if (until <= now) this.#used.delete(spent);
    if (this.#used.has(sequence)) return false;
    this.#used.set(sequence, now + 2 * limits.secretIntentAge.value);
    return true;
  }
}
