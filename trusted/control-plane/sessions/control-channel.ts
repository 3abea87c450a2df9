import { controlSubject, type ControlMessage, type SessionId } from '../../../pure/contracts/index.ts';
import type { SessionStore } from '../../store/index.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import type { Clock } from '../ports.ts';

type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;
/** What is to be said; session, sequence and time are put in here. */
export type ControlWords = Without<ControlMessage, 'session_id' | 'seq' | 'iat'>;

export interface ControlChannelOptions {
  readonly sessions: Pick<SessionStore, 'nextControlSequence'>;
  readonly sign: (message: ControlMessage) => Promise<string>;
  readonly publish: (subject: string, payload: Uint8Array) => Promise<void>;
  readonly clock: Clock;
}

/** Signed words to a session's sidecar, each with the next sequence number, in the order in which they were said (R9). */
export class ControlChannel {
  readonly #options: ControlChannelOptions;
  readonly #queue = new KeyedQueue<SessionId>();

  constructor(options: ControlChannelOptions) {
    this.#options = options;
  }

  async say(session: SessionId, words: ControlWords): Promise<void> {
    await this.#queue.run(session, async () => {
      const { sessions, sign, publish, clock } = this.#options;
      const seq = await sessions.nextControlSequence(session);
      const message: ControlMessage = {
        session_id: session,
        seq,
        iat: Math.floor(clock.now() / 1000),
        ...words,
      };
      await publish(controlSubject(session), new TextEncoder().encode(await sign(message)));
    });
  }
}
