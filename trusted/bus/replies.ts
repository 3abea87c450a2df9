import { randomBytes } from 'node:crypto';
import {
  NoRespondersError,
  TimeoutError,
  type Msg,
  type MsgHdrs,
  type PermissionViolationError,
} from '@nats-io/transport-node';
import { replySubject, type SessionId } from '../../pure/contracts/index.ts';
import type { Generation } from './generation.ts';

export interface ProviderRequest {
  readonly session: SessionId;
  readonly domain: string;
  readonly subject: string;
  readonly data: Uint8Array | string;
  readonly headers: MsgHdrs | undefined;
  readonly timeoutMs: number;
}

interface Waiting {
  resolve(message: Msg): void;
  reject(error: Error): void;
}

/**
 * Requests to providers of one connection. Each is answered on a subject of the provider's domain with 128 random bits
 * (the library's own tokens can be guessed from one another, and a provider may publish to any of its domain).
 */
export class Replies {
  readonly #generation: Generation;
  readonly #onUnasked: (subject: string) => void;
  readonly #waiting = new Map<string, Waiting>();
  readonly #listening = new Set<string>();

  constructor(generation: Generation, onUnasked: (subject: string) => void) {
    this.#generation = generation;
    this.#onUnasked = onUnasked;
    void generation.nc.closed().then(() => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error('the connection ended'));
    });
  }

  async request(request: ProviderRequest): Promise<Msg> {
    const { session, domain, subject } = request;
    if (!this.#listening.has(domain)) this.#listen(session, domain);
    const reply = replySubject(session, domain, randomBytes(16).toString('hex'));
    let timer: NodeJS.Timeout | undefined;
    const stopWatching = this.#generation.watch((violation: PermissionViolationError) => {
      if (violation.operation === 'publish' && violation.subject === subject) {
        this.#waiting.get(reply)?.reject(violation);
      }
    });
    try {
      return await new Promise<Msg>((resolve, reject) => {
        this.#waiting.set(reply, { resolve, reject });
        timer = setTimeout(() => reject(new TimeoutError()), request.timeoutMs);
        this.#generation.nc.publish(subject, request.data, {
          reply,
          ...(request.headers === undefined ? {} : { headers: request.headers }),
        });
      });
    } finally {
      clearTimeout(timer);
      stopWatching();
      this.#waiting.delete(reply);
    }
  }

  #listen(session: SessionId, domain: string): void {
    this.#listening.add(domain);
    this.#generation.nc.subscribe(replySubject(session, domain, '*'), {
      callback: (error, message) => {
        if (error !== null) return;
        const waiting = this.#waiting.get(message.subject);
        if (waiting === undefined) return this.#onUnasked(message.subject);
        if (message.data.length === 0 && message.headers?.code === 503) {
          return waiting.reject(new NoRespondersError(message.subject));
        }
        waiting.resolve(message);
      },
    });
  }
}
