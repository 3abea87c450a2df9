import { randomBytes } from 'node:crypto';
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
  /** Of this start: a number of another one means nothing here. */
  readonly #epoch = randomBytes(6).toString('base64url');
  readonly #past: OperatorEvent[] = [];
  #count = 0;

  publish(event: OperatorEvent): void {
    this.#count += 1;
    this.#past.push(event);
    if (this.#past.length > limits.eventReplay.value) this.#past.shift();
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

  /**
   * Server-sent events, for browsers. A reader that names the last event it has (`Last-Event-ID`) gets what came after it; where
   * that is not known any more, `reset` and then `first`, as a reader does that is new.
   */
  serverSent(session: string | null, first: readonly OperatorEvent[], lastId: string | undefined): Readable {
    const stream = new Readable({ read: () => undefined, highWaterMark: limits.eventBacklog.value });
    const write = (text: string): void => {
      if (!stream.push(text)) stream.destroy(new Error('the reader is too slow'));
    };
    const send = (event: OperatorEvent, count: number): void => {
      if (session !== null && sessionOfEvent(event) !== session) return;
      write(`id: ${this.#epoch}.${count}\ndata: ${JSON.stringify(event)}\n\n`);
    };
    write(': glovebox\n\n');
    const missed = this.#since(lastId);
    const began = this.#count - (missed?.length ?? 0);
    if (missed === null) {
      if (lastId !== undefined) write('event: reset\ndata: {}\n\n');
      for (const event of first) send(event, this.#count);
    } else missed.forEach((event, index) => send(event, began + index + 1));
    const unsubscribe = this.subscribe((event) => send(event, this.#count));
    // Proxies and browsers give up a connection on which nothing comes.
    const beat = setInterval(() => write(': \n\n'), limits.eventHeartbeat.value);
    stream.once('close', () => {
      unsubscribe();
      clearInterval(beat);
    });
    return stream;
  }

  #since(lastId: string | undefined): readonly OperatorEvent[] | null {
    const [, epoch, number] = /^([\w-]{8})\.(\d{1,15})$/.exec(lastId ?? '') ?? [];
    const away = this.#count - Number(number ?? Number.NaN);
    if (epoch !== this.#epoch || !(away >= 0) || away > this.#past.length) return null;
    return this.#past.slice(this.#past.length - away);
  }

  get size(): number {
    return this.#listeners.size;
  }
}
