import type { Readable, Writable } from 'node:stream';
import type { Pairs } from './headers.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
}

export interface OutgoingRequest {
  readonly method: string;
  /** Without hop-by-hop headers, `host` first. */
  readonly headers: Pairs;
  readonly body: Readable;
  readonly hasBody: boolean;
  /** Bytes of the body that went to the upstream: counted as they go. */
  readonly sent: { bytes: number };
}

export interface Answer {
  readonly status: number;
  readonly headers: Pairs;
  readonly body: Readable;
  /** Its end came with its head: gRPC tells such an answer from one with an empty body. */
  readonly headAlone: boolean;
  /** Known once the body has ended. */
  trailers(): Pairs;
}

/** One request on its way. */
export interface Sending {
  readonly answer: Promise<Answer>;
  /** The address that it went to; null before it is connected. */
  address(): string | null;
  abort(): void;
}

/** The agent's bytes go up as the upstream takes them; an upstream that answers early does not cost the agent its answer. */
export function carryBody({ body, sent }: OutgoingRequest, upstream: Writable): void {
  const count = (chunk: Buffer): void => {
    sent.bytes += chunk.length;
  };
  const drain = (): void => {
    body.off('data', count);
    body.unpipe(upstream);
    body.resume();
  };
  upstream.once('close', drain);
  upstream.once('error', drain);
  // Never an end: what was cut must not look whole to the upstream.
  body.once('error', () => {
    upstream.destroy();
  });
  body.on('data', count);
  body.pipe(upstream);
}
