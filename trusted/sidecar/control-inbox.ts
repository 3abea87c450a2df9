import {
  controlMessage,
  limits,
  untrusted,
  type ControlMessage,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { Verified } from '../tokens/index.ts';

export interface ControlInboxOptions {
  readonly session: SessionId;
  readonly verify: (token: string) => Promise<Verified<unknown>>;
  readonly handle: (message: ControlMessage) => void;
}

/**
 * Words of the control plane on the bus. The bus does not tell who published (a provider can be made to answer into any
 * subject), so only what the signer signed for this session, with a higher number than all before, is heeded (R9).
 */
export class ControlInbox {
  readonly #options: ControlInboxOptions;
  #last = 0;
  #waiting = 0;
  #dropped = 0;
  #queue: Promise<void> = Promise.resolve();

  constructor(options: ControlInboxOptions) {
    this.#options = options;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Resolves when it is heeded or dropped; one after the other. */
  receive(data: Uint8Array): Promise<void> {
    if (this.#waiting >= limits.controlWaiting.value) {
      this.#dropped += 1;
      return Promise.resolve();
    }
    this.#waiting += 1;
    this.#queue = this.#queue
      .then(() => this.#take(data))
      .finally(() => {
        this.#waiting -= 1;
      });
    return this.#queue;
  }

  async #take(data: Uint8Array): Promise<void> {
    const verified = await this.#options.verify(Buffer.from(data).toString('utf8'));
    const parsed = verified.ok ? controlMessage.safeParse(untrusted(verified.payload)) : undefined;
    const message = parsed?.success === true ? parsed.data : undefined;
    if (message === undefined || message.session_id !== this.#options.session || message.seq <= this.#last) {
      this.#dropped += 1;
      return;
    }
    this.#last = message.seq;
    this.#options.handle(message);
  }
}
