import {
  connect as connectHttp2,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { limits } from '../../pure/contracts/index.ts';
import type { CompiledRule } from '../../pure/egress/index.ts';
import { checkedLookup, type Resolve } from '../outbound/index.ts';
import { listOf, type Pairs } from './headers.ts';
import { authoritiesOf } from './upstream-http1.ts';
import { carryBody, type Answer, type OutgoingRequest, type Sending, type Target } from './sending.ts';

/** One connection for each rule, host and port; null where the upstream speaks HTTP/1.1 only. */
export class Http2Upstreams {
  // By the rule itself: the next generation of a policy has rules of the same names.
  #sessions = new WeakMap<CompiledRule, Map<string, Promise<ClientHttp2Session | null>>>();
  readonly #open = new Set<ClientHttp2Session>();
  readonly #resolve: Resolve;
  #closed = false;

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  /** Rejects where the upstream cannot be reached, or is not who it should be. */
  session(rule: CompiledRule, target: Target): Promise<ClientHttp2Session | null> {
    const ofRule = this.#sessions.get(rule) ?? new Map<string, Promise<ClientHttp2Session | null>>();
    this.#sessions.set(rule, ofRule);
    const key = `${target.host}:${String(target.port)}`;
    const known = ofRule.get(key);
    if (known !== undefined) return known;
    const made = this.#connect(rule, target, () => ofRule.delete(key));
    ofRule.set(key, made);
    made.catch(() => ofRule.delete(key));
    return made;
  }

  send(session: ClientHttp2Session, target: Target, outgoing: OutgoingRequest): Sending {
    const host = outgoing.headers.find(([name]) => name === 'host')?.[1] ?? target.host;
    const address = session.socket.remoteAddress ?? null;
    const stream = session.request(
      {
        ':method': outgoing.method,
        ':scheme': 'https',
        ':authority': host,
        ':path': target.path,
        ...listOf(outgoing.headers.filter(([name]) => name !== 'host')),
      },
      { endStream: !outgoing.hasBody },
    );
    return {
      answer: answerOf(stream, outgoing),
      address: () => address,
      abort: () => {
        stream.destroy();
      },
    };
  }

  close(): void {
    this.#closed = true;
    for (const session of this.#open) session.destroy();
  }

  /** What is in use serves its requests to the end. */
  renew(): void {
    this.#sessions = new WeakMap();
    for (const session of this.#open) session.close();
  }

  async #connect(rule: CompiledRule, target: Target, forget: () => void): Promise<ClientHttp2Session | null> {
    const socket = await this.#handshake(rule, target);
    if (this.#closed || socket.alpnProtocol !== 'h2') {
      socket.destroy();
      if (this.#closed) throw new Error('the session has ended');
      return null;
    }
    const session = connectHttp2(`https://${target.host}:${String(target.port)}`, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: limits.egressWindow.value },
      maxHeaderListPairs: limits.egressHeaderCount.value,
    });
    session.once('connect', () => {
      session.setLocalWindowSize(limits.egressWindow.value * 4);
    });
    this.#open.add(session);
    session.once('close', () => this.#open.delete(session));
    session.on('error', forget);
    session.once('goaway', forget);
    session.once('close', forget);
    session.setTimeout(limits.egressIdleUpstream.value, () => {
      // Only an idle one: a stream may be silent for as long as its ends like.
      if (session.state.outboundQueueSize === 0 && openStreams(session) === 0) session.close();
    });
    return session;
  }

  #handshake(rule: CompiledRule, target: Target): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({
        host: target.host,
        port: target.port,
        servername: target.host,
        lookup: checkedLookup(this.#resolve, rule.privateRanges),
        ALPNProtocols: ['h2', 'http/1.1'],
        minVersion: 'TLSv1.2',
        ...authoritiesOf(rule),
      });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        socket.setNoDelay(true);
        resolve(socket);
      });
    });
  }
}

const counts = new WeakMap<ClientHttp2Session, number>();
const openStreams = (session: ClientHttp2Session): number => counts.get(session) ?? 0;

function answerOf(stream: ClientHttp2Stream, outgoing: OutgoingRequest): Promise<Answer> {
  const { session } = stream;
  if (session !== undefined) {
    counts.set(session as ClientHttp2Session, openStreams(session as ClientHttp2Session) + 1);
    stream.once('close', () => {
      counts.set(session as ClientHttp2Session, openStreams(session as ClientHttp2Session) - 1);
    });
  }
  let trailers: Pairs = [];
  stream.once('trailers', (headers: IncomingHttpHeaders) => {
    trailers = pairsOfObject(headers);
  });
  return new Promise((resolve, reject) => {
    stream.once('response', (headers, flags) => {
      resolve({
        status: headers[':status'] ?? 502,
        headers: pairsOfObject(headers).filter(([name]) => !name.startsWith(':')),
        body: stream,
        headAlone: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0,
        trailers: () => trailers,
      });
    });
    stream.on('error', reject);
    stream.once('close', () => {
      reject(new Error(`the upstream closed the stream (${String(stream.rstCode)})`));
    });
    if (outgoing.hasBody) carryBody(outgoing, stream);
  });
}

/** Node gives joined values, and lists for `set-cookie`. */
function pairsOfObject(headers: Readonly<Record<string, string | string[] | number | undefined>>): Pairs {
  return Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    value === undefined
      ? []
      : Array.isArray(value)
        ? value.map((one) => [name, one])
        : [[name, String(value)]],
  );
}
