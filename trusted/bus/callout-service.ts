import type { NatsConnection } from '@nats-io/transport-node';
import type { TrustDomain } from '../../pure/contracts/index.ts';
import type { BusAuthorizer } from './callout.ts';
import { dial, type BusAddress } from './dial.ts';
import type { BusKeys } from './keys.ts';
import { calloutQueue, calloutSubject } from './server-config.ts';
import type { Svid } from './server.ts';

export interface CalloutOptions {
  readonly address: BusAddress;
  readonly svid: Svid;
  readonly trustDomain: TrustDomain;
  readonly user: BusKeys['callout'];
  readonly authorizer: BusAuthorizer;
  readonly onError?: (error: unknown) => void;
}

/** Carries nats-server's sealed questions to the authorizer and its sealed answers back. Down: nobody gets in (R12). */
export class AuthCallout {
  readonly #options: CalloutOptions;
  #nc: NatsConnection;

  private constructor(options: CalloutOptions, nc: NatsConnection) {
    this.#options = options;
    this.#nc = nc;
  }

  static async serve(options: CalloutOptions): Promise<AuthCallout> {
    return new AuthCallout(options, await open(options));
  }

  /** Reconnects use the certificate that they began with, so the callout is renewed like everybody. */
  async rotate(svid: Svid): Promise<void> {
    const old = this.#nc;
    this.#nc = await open({ ...this.#options, svid });
    await old.drain();
  }

  async close(): Promise<void> {
    await this.#nc.close();
  }
}

async function open(options: CalloutOptions): Promise<NatsConnection> {
  const nc = await dial({
    address: options.address,
    svid: options.svid,
    trustDomain: options.trustDomain,
    inboxPrefix: '_INBOX.callout',
    name: 'auth-callout',
    seed: options.user.seed,
  });
  nc.subscribe(calloutSubject, {
    queue: calloutQueue,
    callback: (error, message) => {
      if (error !== null) return options.onError?.(error);
      void options.authorizer
        .answer(message.data, message.headers?.get('Nats-Server-Xkey') ?? '')
        .then((answer) => {
          // No answer: the server refuses the client when its time is over.
          if (answer !== undefined) message.respond(answer);
        })
        .catch((thrown: unknown) => options.onError?.(thrown));
      return undefined;
    },
  });
  await nc.flush();
  return nc;
}
