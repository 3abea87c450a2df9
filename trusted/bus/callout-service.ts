import type { NatsConnection } from '@nats-io/transport-node';
import type { SpiffeId, TrustDomain } from '../../pure/contracts/index.ts';
import { Admitted } from './admitted.ts';
import type { BusAuthorizer } from './authorizer.ts';
import { dial, type BusAddress } from './dial.ts';
import { persist } from './persist.ts';
import { endConnections } from './kick.ts';
import { calloutQueue, calloutSubject } from './server-config.ts';
import type { Svid } from './server.ts';

export interface CalloutOptions {
  readonly address: BusAddress;
  /** Of `busOperators.callout`. */
  readonly svid: Svid;
  /** Of `busOperators.system`, the one of the moment. */
  readonly system: () => Svid;
  readonly trustDomain: TrustDomain;
  readonly authorizer: BusAuthorizer;
  /** The client is told nothing of the reason. */
  readonly onRefused?: (reason: string) => void;
  readonly onError?: (error: unknown) => void;
}

/** Carries nats-server's sealed questions to the authorizer and its sealed answers back. Down: nobody gets in (R12). */
export class AuthCallout {
  #options: CalloutOptions;
  readonly #admitted: Admitted;
  #nc: NatsConnection;

  private constructor(options: CalloutOptions, admitted: Admitted, nc: NatsConnection) {
    this.#options = options;
    this.#admitted = admitted;
    this.#nc = nc;
  }

  static async serve(options: CalloutOptions): Promise<AuthCallout> {
    const admitted = new Admitted();
    return new AuthCallout(options, admitted, await open(options, admitted));
  }

  /**
   * Ends every connection that was admitted for an identity (R4), wherever it is. Revoke first: the authorizer then keeps
   * it from coming back. Returns how many were ended.
   */
  kick(identity: SpiffeId): Promise<number> {
    return endConnections(this.#options, this.#admitted.of(identity));
  }

  /** Reconnects use the certificate that they began with, so the callout is renewed like everybody. */
  async rotate(svid: Svid): Promise<void> {
    const old = this.#nc;
    const options = { ...this.#options, svid };
    this.#options = options;
    await persist(
      async () => {
        this.#nc = await open(options, this.#admitted);
      },
      () => this.#options === options,
    );
    await old.drain();
  }

  async close(): Promise<void> {
    await this.#nc.close();
  }
}

async function open(options: CalloutOptions, admitted: Admitted): Promise<NatsConnection> {
  const nc = await dial({
    address: options.address,
    svid: options.svid,
    trustDomain: options.trustDomain,
    inboxPrefix: '_INBOX.callout',
    name: 'auth-callout',
    urgent: true,
  });
  nc.subscribe(calloutSubject, {
    queue: calloutQueue,
    callback: (error, message) => {
      if (error !== null) return options.onError?.(error);
      void options.authorizer
        .answer(message.data, message.headers?.get('Nats-Server-Xkey') ?? '')
        .then(({ sealed, decision }) => {
          if (decision.allowed) admitted.add(decision);
          else options.onRefused?.(decision.reason);
          if (sealed !== undefined) message.respond(sealed);
        })
        .catch((thrown: unknown) => options.onError?.(thrown));
      return undefined;
    },
  });
  await nc.flush();
  return nc;
}
