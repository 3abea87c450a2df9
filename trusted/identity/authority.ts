import { randomUUID } from 'node:crypto';
import {
  GloveboxError,
  identityOf,
  limits,
  type SessionId,
  type SpiffeId,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { JoinTokens } from './join-tokens.ts';
import type { AttestationChannel, IdentityStore, IssuedSerial } from './port.ts';
import { Renewals, type RevokedListener } from './renewals.ts';

/** What is needed of the signer; trusted/signer's SignerClient is one. */
export interface SvidIssuer {
  issueSvid(order: {
    readonly csrPem: string;
    readonly spiffeId: SpiffeId;
    readonly ttlSeconds: number;
    readonly dnsNames?: readonly string[];
  }): Promise<{ readonly chainPem: string; readonly serial: string; readonly notAfter: Date }>;
  bundle(): Promise<string>;
}

export interface IdentityAuthorityOptions {
  readonly signer: SvidIssuer;
  readonly store: IdentityStore;
  readonly now: () => number;
  /** At most 300, the default. */
  readonly ttlSeconds?: number;
}

export interface IssuedIdentity {
  readonly chainPem: string;
  readonly bundlePem: string;
  readonly serial: string;
  readonly notAfter: Date;
}

interface Issued extends IssuedSerial {
  readonly answer: IssuedIdentity;
}

/** Decides who gets which certificate, and when no more. The routes of the control plane call it; the signer signs. */
export class IdentityAuthority {
  readonly #options: IdentityAuthorityOptions;
  readonly #tokens: JoinTokens;
  readonly #renewals: Renewals;
  readonly #listeners = new Set<RevokedListener>();
  /** Serials that the listeners know of, while they have not ended. */
  readonly #told = new Set<string>();

  constructor(options: IdentityAuthorityOptions) {
    this.#options = options;
    this.#tokens = new JoinTokens(options.store, options.now);
    this.#renewals = new Renewals(options.store, options.now, (serials) => this.#tell(serials));
  }

  /** A token for one first certificate of that identity: to be handed over an inherited descriptor, at once. */
  createJoinToken(spiffeId: SpiffeId): Promise<string> {
    return this.#tokens.create(spiffeId);
  }

  async join(token: string, csrPem: string): Promise<IssuedIdentity> {
    const { spiffeId, lineage } = await this.#tokens.consume(token);
    if (identityOf(spiffeId).kind === 'sandbox') throw elsewhere('it is for the gateway of its session');
    return this.#begin(spiffeId, lineage, csrPem, 'workload-api');
  }

  /** What a sandbox of that session asks of its own sidecar, which is at the other end of its one connection. */
  async joinSandbox(session: SessionId, token: string, csrPem: string): Promise<IssuedIdentity> {
    const { spiffeId, lineage } = await this.#tokens.consume(token);
    const identity = identityOf(spiffeId);
    if (identity.kind !== 'sandbox' || identity.session !== session) throw elsewhere('it is for another');
    return this.#begin(spiffeId, lineage, csrPem, 'link');
  }

  /** The sidecar vouches that the holder of that serial asks, over the link that the serial made. */
  async renewSandbox(session: SessionId, serial: string, csrPem: string): Promise<IssuedIdentity> {
    const known = await this.#options.store.findSerial(serial);
    const identity = known === undefined ? undefined : identityOf(known.spiffeId);
    if (identity?.kind !== 'sandbox' || identity.session !== session) {
      throw new GloveboxError('GB_CALLER_MISMATCH', {
        named: `the certificate ${serial}`,
        caller: `the sidecar of session ${session}`,
      });
    }
    const { id } = identity;
    const { answer } = await this.#renewals.renew({ id, serial }, 'link', () =>
      this.#issue(id, csrPem, 'link'),
    );
    return answer;
  }

  /**
   * For the control plane itself and what it configures with a certificate of its own making (the bus server): attested
   * by being in this process. Each call begins a lineage; such an identity is not renewed, but issued again.
   */
  issueOwn(spiffeId: SpiffeId, csrPem: string): Promise<IssuedIdentity> {
    return this.#begin(spiffeId, randomUUID(), csrPem, 'in-process');
  }

  /** Once for each serial as everywhere, so that a revoked one ends. */
  async renewOwn(id: SpiffeId, serial: string, csrPem: string): Promise<IssuedIdentity> {
    const issue = async (): Promise<Issued> => await this.#issue(id, csrPem, 'in-process');
    return (await this.#renewals.renew({ id, serial }, 'in-process', issue)).answer;
  }

  async renew(
    caller: WorkloadCaller,
    csrPem: string,
    channel: AttestationChannel = 'workload-api',
  ): Promise<IssuedIdentity> {
    const { id } = caller.identity;
    const { serial } = caller;
    const { answer } = await this.#renewals.renew({ id, serial }, channel, () =>
      this.#issue(id, csrPem, channel),
    );
    return answer;
  }

  /** Ends every certificate and join token that the identity has now. The same identity may join again with a new token. */
  async revoke(spiffeId: SpiffeId): Promise<readonly string[]> {
    const serials = await this.#options.store.revokeIdentity(spiffeId, this.#options.now());
    this.#tell(serials);
    return serials;
  }

  /** Housekeeping, to be called now and then. */
  async forgetEnded(): Promise<void> {
    const { store, now } = this.#options;
    await store.forget(now() - limits.identityRecords.value);
    const live = new Set(await store.revokedSerials(now()));
    for (const serial of this.#told) if (!live.has(serial)) this.#told.delete(serial);
  }

  /** What a starting server has to refuse (ConnectionRegistry's second argument). */
  async revokedSerials(): Promise<readonly string[]> {
    const all = await this.#options.store.revokedSerials(this.#options.now());
    for (const serial of all) this.#told.add(serial);
    return all;
  }

  /** Another replica on the same store revoked something, or may have: what is new of it is told here too [R4]. */
  async readRevocations(): Promise<void> {
    const all = await this.#options.store.revokedSerials(this.#options.now());
    this.#tell(all.filter((serial) => !this.#told.has(serial)));
  }

  /** Called with every serial that is revoked: the API, the bus and the links end its connections [R4]. */
  onRevoked(listener: RevokedListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(serials: readonly string[]): void {
    for (const serial of serials) this.#told.add(serial);
    if (serials.length > 0) for (const listener of this.#listeners) listener(serials);
  }

  async #begin(
    spiffeId: SpiffeId,
    lineage: string,
    csrPem: string,
    channel: AttestationChannel,
  ): Promise<IssuedIdentity> {
    const issued = await this.#issue(spiffeId, csrPem, channel);
    // Recorded before it is given out: a certificate that nobody can revoke must not exist outside.
    if (await this.#options.store.beginLineage(lineage, issued)) return issued.answer;
    throw new GloveboxError('GB_IDENTITY_REVOKED', {
      identity: spiffeId,
      detail: 'it was revoked as it joined',
    });
  }

  async #issue(spiffeId: SpiffeId, csrPem: string, channel: AttestationChannel): Promise<Issued> {
    const { signer, ttlSeconds = limits.certificateLifetime.value / 1000 } = this.#options;
    const { kind } = identityOf(spiffeId);
    const dnsNames = kind === 'bus' || kind === 'control-plane' ? ['localhost'] : [];
    const { chainPem, serial, notAfter } = await signer.issueSvid({ csrPem, spiffeId, ttlSeconds, dnsNames });
    const bundlePem = await signer.bundle();
    const answer = { chainPem, bundlePem, serial, notAfter };
    return { serial, spiffeId, channel, notAfter: notAfter.getTime(), answer };
  }
}

const elsewhere = (detail: string): GloveboxError => new GloveboxError('GB_TOKEN_INVALID', { detail });
