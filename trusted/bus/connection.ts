import { X509Certificate } from 'node:crypto';
import type { Msg, MsgHdrs, NatsConnection, Subscription } from '@nats-io/transport-node';
import {
  GloveboxError,
  inboxPrefix,
  limits,
  parseSubject,
  sessionOf,
  type Identity,
} from '../../pure/contracts/index.ts';
import { dial, type BusAddresses, type DialOptions } from './dial.ts';
import { busFailure } from './failures.ts';
import { Generation } from './generation.ts';
import { persist } from './persist.ts';
import type { Svid } from './server.ts';

export interface BusConnectionOptions {
  readonly address: BusAddresses;
  readonly svid: Svid;
  /** Whose certificate this is: gives the trust domain and the private inbox. The server decides by the certificate. */
  readonly identity: Identity;
  readonly readCertificate?: DialOptions['readCertificate'];
  /** An answer that was not asked for, or came too late: dropped. More than a few are a provider that guesses (R9). */
  readonly onUnasked?: (subject: string) => void;
}

export type BusHandler = (message: Msg) => void | Promise<void>;

export interface BusSubscription {
  readonly subject: string;
  /** Takes no more messages; resolves when those that arrived are handled. */
  stop(): Promise<void>;
}

interface Entry {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly handler: BusHandler;
  readonly onError: (error: unknown) => void;
  current: Subscription;
}

/**
 * A connection that outlives its certificates. `rotate` opens the next one, moves the subscriptions, and closes the old
 * one when what runs on it has ended: no request is lost. While both are open a plain (not queue) subscription may see a
 * message twice.
 */
export class BusConnection {
  readonly identity: Identity;
  /**
   * Resolves when the connection has ended for another reason than `close` and will not come back by itself: its certificate
   * ended. One whose server or right is gone tries again until then.
   */
  readonly lost: Promise<GloveboxError>;
  readonly #options: BusConnectionOptions;
  readonly #entries = new Set<Entry>();
  readonly #retiring = new Set<Promise<void>>();
  readonly #onRotated = new Set<() => void>();
  readonly #onLost = new Set<(error: GloveboxError) => void>();
  #current: Generation;
  #rotating: Promise<void> = Promise.resolve();
  #newest: Svid | undefined;
  #closed = false;

  private constructor(options: BusConnectionOptions, first: Generation) {
    this.identity = options.identity;
    this.#options = options;
    this.#current = first;
    this.lost = new Promise((resolve) => void this.#onLost.add(resolve));
    this.#watch(first);
  }

  static async connect(options: BusConnectionOptions): Promise<BusConnection> {
    return new BusConnection(options, await openGeneration(options));
  }

  /**
   * With the renewed certificate, well before the old one ends. While it fails the old connection is still in use: it is tried again
   * until it works, the certificate ends, a newer one is there, or this is closed.
   */
  rotate(svid: Svid): Promise<void> {
    this.#newest = svid;
    const next = this.#rotating.then(() =>
      persist(
        () => this.#rotate(svid),
        () =>
          !this.#closed &&
          this.#newest === svid &&
          Date.parse(new X509Certificate(svid.chainPem).validTo) > Date.now(),
      ),
    );
    this.#rotating = next.catch(() => undefined);
    return next;
  }

  /** Resolves when the server has taken it; a refusal is GB_BUS_REFUSED here, not an event elsewhere. */
  publish(subject: string, data: Uint8Array | string, headers?: MsgHdrs): Promise<void> {
    return this.#use(subject, async (generation) => {
      await generation.checked('publish', subject, () =>
        generation.nc.publish(subject, data, headers === undefined ? {} : { headers }),
      );
    });
  }

  request(
    subject: string,
    data: Uint8Array | string,
    options: { readonly timeoutMs?: number; readonly headers?: MsgHdrs } = {},
  ): Promise<Msg> {
    const { timeoutMs = limits.operationTimeout.value, headers } = options;
    const own = sessionOf(this.identity);
    const domain = parseSubject('provider', subject)?.['domain'];
    return this.#use(subject, ({ nc, replies }) =>
      own !== undefined && domain !== undefined
        ? replies.request({ session: own, domain, subject, data, headers, timeoutMs })
        : nc.request(subject, data, { timeout: timeoutMs, ...(headers === undefined ? {} : { headers }) }),
    );
  }

  /** A handler that throws answers nothing; `onError` is told. */
  async subscribe(
    subject: string,
    handler: BusHandler,
    options: { readonly queue?: string; readonly onError?: (error: unknown) => void } = {},
  ): Promise<BusSubscription> {
    const queue = options.queue;
    const onError = options.onError ?? (() => undefined);
    const entry = await this.#use(subject, async (generation): Promise<Entry> => {
      const current = await attach(generation, { subject, queue, handler, onError });
      return { subject, queue, handler, onError, current };
    });
    this.#entries.add(entry);
    return {
      subject,
      stop: async () => {
        this.#entries.delete(entry);
        if (!entry.current.isClosed()) await entry.current.drain();
      },
    };
  }

  /** The raw connection for one piece of work; it stays open until the work ends, also when a rotation comes between. */
  use<T>(work: (nc: NatsConnection) => Promise<T>): Promise<T> {
    return this.#use('the bus', ({ nc }) => work(nc));
  }

  /** Told after each rotation, for what runs in `use` without an end; returns how to stop. */
  onRotated(listener: () => void): () => void {
    this.#onRotated.add(listener);
    return () => this.#onRotated.delete(listener);
  }

  /** As `lost`, each time: for who opens the next connection all the same. Returns how to stop. */
  onLost(listener: (error: GloveboxError) => void): () => void {
    this.#onLost.add(listener);
    return () => this.#onLost.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#rotating;
    await Promise.all([
      this.#current.retire([...this.#entries].map((entry) => entry.current)),
      ...this.#retiring,
    ]);
  }

  /** At once, without waiting for what runs. */
  async abort(): Promise<void> {
    this.#closed = true;
    await this.#current.nc.close();
  }

  async #use<T>(subject: string, work: (generation: Generation) => Promise<T>): Promise<T> {
    if (this.#closed) throw new GloveboxError('GB_BUS_UNAVAILABLE', { detail: 'the connection is closed' });
    const generation = this.#current;
    try {
      return await generation.track(work(generation));
    } catch (error) {
      throw busFailure(error, subject);
    }
  }

  async #rotate(svid: Svid): Promise<void> {
    if (this.#closed) return;
    const next = await openGeneration({ ...this.#options, svid });
    const moved: [Entry, Subscription][] = [];
    try {
      for (const entry of this.#entries) moved.push([entry, await attach(next, entry)]);
    } catch (error) {
      await next.nc.close();
      throw busFailure(error, 'the bus');
    }
    const old = this.#current;
    const left = moved.map(([entry, subscription]) => {
      const before = entry.current;
      entry.current = subscription;
      return before;
    });
    this.#current = next;
    this.#watch(next);
    const retiring = old.retire(left).finally(() => this.#retiring.delete(retiring));
    this.#retiring.add(retiring);
    for (const listener of [...this.#onRotated]) listener();
  }

  #watch(generation: Generation): void {
    void generation.nc.closed().then((error) => {
      if (this.#closed || this.#current !== generation) return;
      const lost = busFailure(error ?? new Error('the bus ended the connection'), 'the bus');
      for (const listener of [...this.#onLost]) listener(lost);
    });
  }
}

async function attach(generation: Generation, entry: Omit<Entry, 'current'>): Promise<Subscription> {
  let subscription: Subscription | undefined;
  await generation.checked('subscription', entry.subject, () => {
    subscription = generation.nc.subscribe(entry.subject, {
      ...(entry.queue === undefined ? {} : { queue: entry.queue }),
      callback: (error, message) => {
        if (error !== null) return entry.onError(error);
        void generation
          .track(Promise.resolve().then(() => entry.handler(message)))
          .catch((thrown: unknown) => entry.onError(thrown));
      },
    });
  });
  if (subscription === undefined) throw new GloveboxError('GB_BUS_UNAVAILABLE', { detail: 'not subscribed' });
  return subscription;
}

async function openGeneration(options: BusConnectionOptions): Promise<Generation> {
  return new Generation(await dial(dialOptions(options)), options.onUnasked ?? (() => undefined));
}

const dialOptions = (options: BusConnectionOptions): DialOptions => ({
  address: options.address,
  svid: options.svid,
  trustDomain: options.identity.trustDomain,
  inboxPrefix: inboxPrefix(options.identity),
  name: options.identity.id,
  ...(options.readCertificate === undefined ? {} : { readCertificate: options.readCertificate }),
});
