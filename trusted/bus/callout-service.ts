import { setTimeout as pause } from 'node:timers/promises';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { limits, type SpiffeId, type TrustDomain } from '../../pure/contracts/index.ts';
import { Admitted } from './admitted.ts';
import { readEntry, writeEntry } from './admitted-words.ts';
import type { BusAnswer, BusAuthorizer, BusClient } from './authorizer.ts';
import { dial, type BusAddresses } from './dial.ts';
import { persist } from './persist.ts';
import { endConnections } from './kick.ts';
import { admittedSubjects, calloutQueue, calloutSubject } from './server-config.ts';
import type { Svid } from './server.ts';

export interface CalloutOptions {
  readonly address: BusAddresses;
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

/** One connection that takes questions, and the questions that it has taken. */
interface Desk {
  readonly nc: NatsConnection;
  readonly subscription: Subscription;
  readonly answering: Set<Promise<void>>;
}

/** Carries nats-server's sealed questions to the authorizer and its sealed answers back. Down: nobody gets in (R12). */
export class AuthCallout {
  #options: CalloutOptions;
  readonly #admitted = new Admitted();
  /** For each question that is being answered, whose connections were ended meanwhile. */
  readonly #asked = new Set<Set<SpiffeId>>();
  #desk: Desk | undefined;

  private constructor(options: CalloutOptions) {
    this.#options = options;
  }

  static async serve(options: CalloutOptions): Promise<AuthCallout> {
    const callout = new AuthCallout(options);
    callout.#desk = await callout.#open(options);
    return callout;
  }

  /**
   * Ends every connection that was admitted for an identity (R4), wherever it is. Revoke first: the authorizer then keeps
   * it from coming back. Returns how many were ended.
   */
  kick(identity: SpiffeId): Promise<number> {
    for (const ended of this.#asked) ended.add(identity);
    return endConnections(this.#options, this.#admitted.of(identity));
  }

  /**
   * True when somebody who has a right to be let in would be, now. Who makes the server ask about everybody (a reload of its
   * configuration) asks here first: with nobody to answer it would end every connection.
   */
  async answers(): Promise<boolean> {
    const { authorizer } = this.#options;
    const desk = this.#desk;
    if (desk === undefined || desk.nc.isClosed()) return false;
    try {
      await Promise.all([desk.nc.flush(), authorizer.ready?.()]);
      return true;
    } catch {
      return false;
    }
  }

  /** Reconnects use the certificate that they began with, so the callout is renewed like everybody. */
  async rotate(svid: Svid): Promise<void> {
    const old = this.#desk;
    const options = { ...this.#options, svid };
    this.#options = options;
    await persist(
      async () => {
        this.#desk = await this.#open(options);
      },
      () => this.#options === options,
    );
    // Not waited for: a connection whose server is gone ends nothing in order, and the next one is there.
    if (old !== undefined) void retire(old).catch((error: unknown) => this.#options.onError?.(error));
  }

  async close(): Promise<void> {
    await this.#desk?.nc.close();
  }

  async #open(options: CalloutOptions): Promise<Desk> {
    const nc = await dial({
      address: options.address,
      svid: options.svid,
      trustDomain: options.trustDomain,
      inboxPrefix: '_INBOX.callout',
      name: 'auth-callout',
      urgent: true,
    });
    const answering = new Set<Promise<void>>();
    const subscription = nc.subscribe(calloutSubject, {
      queue: calloutQueue,
      callback: (error, message) => {
        if (error !== null) return options.onError?.(error);
        const answered = this.#answer(message)
          .catch((thrown: unknown) => options.onError?.(thrown))
          .finally(() => answering.delete(answered));
        answering.add(answered);
        return undefined;
      },
    });
    this.#hearOthers(nc);
    await nc.flush();
    return { nc, subscription, answering };
  }

  /** Another one may end before what it let in: then it is ended from here (R4). */
  #hearOthers(nc: NatsConnection): void {
    nc.subscribe(admittedSubjects.one, {
      callback: (error, message) => {
        const entry = error === null ? readEntry(message.data) : undefined;
        if (entry !== undefined) this.#admitted.add(entry);
      },
    });
    nc.subscribe(admittedSubjects.all, {
      callback: (error) => {
        if (error !== null) return;
        for (const entry of this.#admitted.all()) nc.publish(admittedSubjects.one, writeEntry(entry));
      },
    });
    nc.publish(admittedSubjects.all);
  }

  async #answer(message: Msg): Promise<void> {
    const { onRefused } = this.#options;
    const ended = new Set<SpiffeId>();
    this.#asked.add(ended);
    try {
      let { sealed, decision } = await this.#decide(message);
      // Decided before the revocation that has ended the identity's other connections: to be decided again, after it.
      while (decision.allowed && ended.delete(decision.certificate.identity.id)) {
        ({ sealed, decision } = await this.#decide(message));
      }
      const tooMany = decision.allowed ? this.#admitted.add(decision) : [];
      // Before the answer: it is known to the others when the connection is there.
      if (decision.allowed) this.#desk?.nc.publish(admittedSubjects.one, writeEntry(decision));
      if (sealed !== undefined) message.respond(sealed);
      if (!decision.allowed) return onRefused?.(decision.reason);
      await this.#endOldest(decision.certificate.identity.id, tooMany);
    } finally {
      this.#asked.delete(ended);
    }
  }

  /** Most of them have ended by themselves: said is only what was open. */
  async #endOldest(identity: SpiffeId, clients: readonly BusClient[]): Promise<void> {
    const { onRefused, onError } = this.#options;
    try {
      const ended = await endConnections(this.#options, clients);
      if (ended > 0) onRefused?.(`${identity} has too many connections: its oldest has ended`);
    } catch (error) {
      onError?.(error);
    }
  }

  /** An authorizer that is being started again answers late rather than never: during a reload the server would end the connection. */
  #decide(message: Msg): Promise<BusAnswer> {
    const until = Date.now() + limits.busAuthTimeout.value;
    return persist(
      () => this.#options.authorizer.answer(message.data, message.headers?.get('Nats-Server-Xkey') ?? ''),
      () => Date.now() < until,
      { attempts: 100, firstMs: 50, longestMs: 500 },
    );
  }
}

/**
 * Takes no more questions, answers those that it has, and only then closes: one that was lost here costs its client the
 * server's whole patience, and during a reload its connection.
 */
async function retire({ nc, subscription, answering }: Desk): Promise<void> {
  const finished = async (): Promise<void> => {
    await subscription.drain();
    while (answering.size > 0) await Promise.all(answering);
    await nc.flush();
  };
  const late = pause(limits.busDrain.value, undefined, { ref: false });
  if (!nc.isClosed()) await Promise.race([finished(), late]);
  await nc.close();
}
