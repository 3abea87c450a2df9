import { Readable } from 'node:stream';
import { limits, type OperatorEvent } from '../../../pure/contracts/index.ts';

const sessionOfEvent = (event: OperatorEvent): string => {
  switch (event.type) {
    case 'session':
      return event.session.id;
    case 'consent':
      return event.question.sessionId;
    case 'agent':
    case 'denied':
      return event.sessionId;
  }
};

/** Hands events to whoever listens now. A reader that does not keep up is cut off: it would otherwise hold the rest in memory. */
export class EventHub {
  readonly #listeners = new Set<(event: OperatorEvent) => void>();

  publish(event: OperatorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(listener: (event: OperatorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** NDJSON, beginning with `first`; of one session, or of all. */
  stream(session: string | null, first: readonly OperatorEvent[]): Readable {
    const stream = new Readable({ read: () => undefined, highWaterMark: limits.eventBacklog.value });
    const write = (event: OperatorEvent): void => {
      if (session !== null && sessionOfEvent(event) !== session) return;
      if (!stream.push(`${JSON.stringify(event)}\n`)) stream.destroy(new Error('the reader is too slow'));
    };
    // An empty line at once: the reader knows that it is subscribed before it does what it wants to see.
    stream.push('\n');
    for (const event of first) write(event);
    stream.once('close', this.subscribe(write));
    return stream;
  }

  get size(): number {
    return this.#listeners.size;
  }
}
