import { X509Certificate } from 'node:crypto';
import {
  GloveboxError,
  limits,
  type AuthorityView,
  type TrustDomain,
  type UserId,
} from '../../pure/contracts/index.ts';
import type { Clock } from '../identity/index.ts';
import type { RootStep, Signer } from '../signer/index.ts';
import type { AuditTrail } from './ports.ts';
import { Queue } from './keyed-queue.ts';

export interface CaRotationOptions {
  readonly signer: Pick<Signer, 'caCertificates' | 'rootPhase' | 'rotateRoot' | 'rotateIssuing'>;
  readonly trustDomain: TrustDomain;
  /** After so long everybody has renewed, and with the certificate the trust bundle: who has not is nobody any more. */
  readonly certificateLifetimeMs: number;
  readonly audit: AuditTrail;
  readonly clock: Clock;
  readonly onError: (error: unknown, doing: string) => void;
}

/**
 * A root takes the place of another in three steps, a certificate lifetime apart. The first is a person's; the others are taken by
 * themselves, also by a control plane that was started again meanwhile, which then waits a whole lifetime anew [R4, R46].
 */
export class CaRotation {
  readonly #options: CaRotationOptions;
  /** Two steps at a time would be two answers to the same phase. */
  readonly #queue = new Queue();
  #cancel: () => void = () => undefined;
  #due = 0;
  #closed = false;

  constructor(options: CaRotationOptions) {
    this.#options = options;
  }

  get trustDomain(): TrustDomain {
    return this.#options.trustDomain;
  }

  /** Goes on with what a predecessor began. */
  async resume(): Promise<void> {
    if ((await this.#options.signer.rootPhase()) !== 'announce') this.#wait();
  }

  async view(): Promise<AuthorityView> {
    const { signer, trustDomain } = this.#options;
    const [{ issuing, root, next, previous }, phase] = await Promise.all([
      signer.caCertificates(),
      signer.rootPhase(),
    ]);
    const roots = [
      { role: 'current' as const, ...facts(root) },
      ...(next === null ? [] : [{ role: 'next' as const, ...facts(next) }]),
      ...(previous === null ? [] : [{ role: 'previous' as const, ...facts(previous) }]),
    ];
    const rotation = phase === 'announce' ? null : { next: phase, at: this.#dueAt() };
    return { trustDomain, issuing: facts(issuing), roots, rotation };
  }

  rotateIssuing(user: UserId): Promise<AuthorityView> {
    return this.#queue.run(async () => {
      await this.#record('ca.rotate-issuing', 'operator', user);
      await this.#options.signer.rotateIssuing();
      return await this.view();
    });
  }

  beginRoot(user: UserId): Promise<AuthorityView> {
    return this.#queue.run(async () => {
      const { signer } = this.#options;
      const step = await signer.rootPhase();
      if (step !== 'announce') throw new GloveboxError('GB_CA_ROTATING', { step, at: this.#dueAt() });
      await this.#record('ca.announce', 'operator', user);
      await signer.rotateRoot('announce');
      this.#wait();
      return await this.view();
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #dueAt(): string {
    return new Date(this.#due).toISOString();
  }

  #wait(ms = this.#options.certificateLifetimeMs): void {
    const { clock, onError } = this.#options;
    if (this.#closed) return;
    this.#cancel();
    this.#due = clock.now() + ms;
    this.#cancel = clock.schedule(ms, () => {
      this.#queue
        .run(async () => await this.#step())
        .catch((error: unknown) => {
          onError(error, 'a step of the rotation of the root');
          this.#wait(limits.renewalRetry.value);
        });
    });
  }

  async #step(): Promise<void> {
    if (this.#closed) return;
    const { signer } = this.#options;
    const step: RootStep = await signer.rootPhase();
    if (step === 'announce') return;
    await this.#record(`ca.${step}`, 'ca-rotation');
    if ((await signer.rotateRoot(step)) !== 'announce') this.#wait();
  }

  /** Before the effect: what cannot be written down is not done [R42]. */
  async #record(operation: string, rule: string, user?: UserId): Promise<void> {
    const by = user === undefined ? {} : { user };
    await this.#options.audit.record({ session: 'system', operation, decision: 'allow', rule, ...by });
  }
}

function facts(pem: string): { fingerprint: string; notBefore: string; notAfter: string } {
  const certificate = new X509Certificate(pem);
  return {
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    notBefore: new Date(certificate.validFrom).toISOString(),
    notAfter: new Date(certificate.validTo).toISOString(),
  };
}
