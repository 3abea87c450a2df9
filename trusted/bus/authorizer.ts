import type { Identity } from '../../pure/contracts/index.ts';

/** What the bus believes of a certificate whose chain TLS has verified. `serial` is lower-case hex. */
export interface CertificateIdentity {
  readonly identity: Identity;
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A connection as its server numbers it. */
export interface BusClient {
  readonly server: string;
  readonly connection: number;
}

export type BusDecision =
  | { readonly allowed: true; readonly certificate: CertificateIdentity; readonly client: BusClient }
  | { readonly allowed: false; readonly reason: string };

/** The reason of a refusal that nobody has to hear of. */
export const alreadyClosed = 'it has closed already';

export interface BusAnswer {
  /** Undefined: leave the question unanswered; the server refuses the client when its time is over. */
  readonly sealed: Uint8Array | undefined;
  readonly decision: BusDecision;
}

/**
 * Answers nats-server's authorization questions: in the product the signer's process (R5). Question and answer are sealed to
 * the authorizer's xkey, so whoever only carries them (the control plane) can neither read nor make one.
 */
export interface BusAuthorizer {
  /** `serverXkey` is the header Nats-Server-Xkey. */
  answer(sealed: Uint8Array, serverXkey: string): Promise<BusAnswer>;
  /** Resolves when a question would be answered now; absent where that is always so. */
  ready?(): Promise<unknown>;
}

/** The public half of the authorizer's keys: all that nats-server learns. */
export interface BusPublicKeys {
  readonly issuer: string;
  readonly xkey: string;
}
