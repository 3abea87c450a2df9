import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Readable, Writable } from 'node:stream';
import type { GloveboxError } from '../../pure/contracts/index.ts';
import { listOf, pairsOf, responseHeaders, type Pairs } from './headers.ts';

/** Where the agent's connection leads: from its CONNECT and TLS handshake, or from an absolute-form target. */
export interface Destination {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port: number;
  readonly sni: string | null;
}

/** One request of the agent and the way to answer it, whichever protocol carries it. */
export interface Inbound {
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  readonly method: string;
  /** Origin form: path and query. */
  readonly target: string;
  /** As sent, names in lower case; of HTTP/2's pseudo-headers only `:authority`. */
  readonly headers: Pairs;
  readonly body: Readable;
  readonly hasBody: boolean;
  /** `100 Continue`, where the client waits for it. */
  proceed(): void;
  /** Begins the answer: what is written to the returned stream goes out at once. `bodiless`: nothing follows. */
  respond(status: number, headers: Pairs, bodiless: boolean): Writable;
  /** To be called before the answer's stream is ended. */
  trailers(pairs: Pairs): void;
  /** The error as an answer, where none has begun; else the request is cut. */
  refuse(error: GloveboxError): void;
  /** Ended at once, whatever has been sent. */
  cut(): void;
  /** The client is gone, or has been answered in full. */
  onceClosed(listener: (complete: boolean) => void): void;
}

export function http1Inbound(request: IncomingMessage, response: ServerResponse, target: string): Inbound {
  let proceeded = false;
  return {
    protocol: request.httpVersion === '1.0' ? 'HTTP/1.0' : 'HTTP/1.1',
    method: request.method ?? '',
    target,
    headers: pairsOf(request.rawHeaders),
    body: request,
    hasBody:
      request.headers['transfer-encoding'] !== undefined ||
      (request.headers['content-length'] ?? '0') !== '0',
    proceed: () => {
      if (request.headers.expect !== undefined && !proceeded) response.writeContinue();
      proceeded = true;
    },
    respond: (status, headers) => {
      response.writeHead(status, responseHeaders(headers).flat());
      response.flushHeaders();
      return response;
    },
    trailers: (pairs) => {
      response.addTrailers(pairs.map(([name, value]): [string, string] => [name, value]));
    },
    refuse: (error) => {
      refuse(response, error);
    },
    cut: () => {
      request.socket.destroy();
    },
    onceClosed: (listener) => {
      response.once('close', () => {
        listener(response.writableFinished);
      });
    },
  };
}

/** HTTP/2 pseudo-headers are checked by the library (RFC 9113 section 8.3); one that should not be there resets the stream. */
export function http2Inbound(
  stream: ServerHttp2Stream,
  pseudo: IncomingHttpHeaders,
  raw: readonly string[],
): Inbound {
  const all = pairsOf(raw);
  let proceeded = false;
  let tail: Pairs = [];
  return {
    protocol: 'HTTP/2',
    method: pseudo[':method'] ?? '',
    target: pseudo[':path'] ?? '',
    headers: withOneCookie(all.filter(([name]) => !name.startsWith(':') || name === ':authority')),
    body: stream,
    hasBody: !stream.endAfterHeaders,
    proceed: () => {
      if (pseudo.expect !== undefined && !proceeded) stream.additionalHeaders({ ':status': 100 });
      proceeded = true;
    },
    respond: (status, headers, bodiless) => {
      if (stream.destroyed) return stream;
      const answer = { ':status': status, ...listOf(responseHeaders(headers)) };
      if (!bodiless) {
        stream.once('wantTrailers', () => {
          // With none this is an empty frame that ends the stream; closing it here can lose that end.
          stream.sendTrailers(listOf(tail));
        });
      }
      stream.respond(answer, bodiless ? { endStream: true } : { waitForTrailers: true });
      return stream;
    },
    trailers: (pairs) => {
      tail = pairs.filter(([name]) => !name.startsWith(':'));
    },
    refuse: (error) => {
      if (stream.destroyed) return;
      if (stream.headersSent) {
        stream.destroy(new Error('refused after its answer had begun'));
        return;
      }
      const body = Buffer.from(JSON.stringify(error.toBody()));
      stream.respond({ ':status': error.status, ...refusalHeaders(error, body) });
      stream.end(body);
      // What the client still sends of its body is not waited for (RFC 9113 section 8.1).
      stream.resume();
    },
    cut: () => {
      // With an error: a reset, not an end that looks like a whole answer.
      stream.destroy(new Error('cut'));
    },
    onceClosed: (listener) => {
      stream.once('close', () => {
        listener(stream.rstCode === constants.NGHTTP2_NO_ERROR && !stream.aborted);
      });
    },
  };
}

/** The error as the body, where the answer has not begun; else the connection ends. */
export function refuse(response: ServerResponse, error: GloveboxError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = Buffer.from(JSON.stringify(error.toBody()));
  response.writeHead(error.status, { ...refusalHeaders(error, body), connection: 'close' });
  response.end(body);
}

const refusalHeaders = (error: GloveboxError, body: Buffer): Record<string, string | number> => ({
  'content-type': 'application/json',
  'content-length': body.length,
  'x-glovebox-error': error.code,
});

/** HTTP/2 clients may send a cookie in crumbs; elsewhere it is one header (RFC 9113 section 8.2.3). */
function withOneCookie(pairs: Pairs): Pairs {
  const crumbs = pairs.filter(([name]) => name === 'cookie');
  if (crumbs.length < 2) return pairs;
  return [
    ...pairs.filter(([name]) => name !== 'cookie'),
    ['cookie', crumbs.map(([, value]) => value).join('; ')],
  ];
}
