import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import type { CompiledRule } from '../../pure/egress/index.ts';
import { checkedLookup, type Resolve } from '../outbound/index.ts';
import { pairsOf, type Pairs } from './headers.ts';
import { carryBody, type Answer, type OutgoingRequest, type Sending, type Target } from './sending.ts';

const keep = { keepAlive: true, maxSockets: 256, maxFreeSockets: 32, scheduling: 'lifo' } as const;

const contexts = new Map<string, SecureContext>();

/**
 * Public authorities, and the rule's own: read once. Made anew for each connection, reading some 150 certificates took more time
 * than the handshake, and an agent that opens many connections had the sidecar do nothing else.
 */
export function authoritiesOf({ caPem }: CompiledRule): { secureContext?: SecureContext } {
  if (caPem === undefined) return {};
  const made =
    contexts.get(caPem) ?? createSecureContext({ ca: [...rootCertificates, caPem], minVersion: 'TLSv1.2' });
  contexts.set(caPem, made);
  return { secureContext: made };
}

export class Http1Upstreams {
  // By the rule itself: the next generation of a policy has rules of the same names.
  readonly #agents = new Map<CompiledRule, HttpAgent | HttpsAgent>();
  readonly #resolve: Resolve;

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  send(rule: CompiledRule, target: Target, outgoing: OutgoingRequest): Sending {
    let current: ClientRequest | null = null;
    const attempt = (again: boolean): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const request = this.#open(rule, target, outgoing, framing(outgoing));
        current = request;
        let answered = false;
        request.once('response', (answer) => {
          answered = true;
          resolve({
            status: answer.statusCode ?? 502,
            headers: pairsOf(answer.rawHeaders),
            body: answer,
            headAlone: false,
            trailers: () => pairsOf(answer.rawTrailers),
          });
        });
        request.on('error', (error: NodeJS.ErrnoException) => {
          // A kept connection that its other end had just closed: what has no effect may go on a new one, once (RFC 9110, 9.2.2).
          if (
            !answered &&
            again &&
            request.reusedSocket &&
            error.code === 'ECONNRESET' &&
            repeatable(outgoing)
          )
            resolve(attempt(false));
          else reject(error);
        });
        if (outgoing.hasBody) carryBody(outgoing, request);
        else request.end();
      });
    return {
      answer: attempt(true),
      address: () => current?.socket?.remoteAddress ?? null,
      abort: () => current?.destroy(),
    };
  }

  upgrade(rule: CompiledRule, target: Target, outgoing: OutgoingRequest): ClientRequest {
    const request = this.#open(rule, target, outgoing, [
      ['connection', 'Upgrade'],
      ['upgrade', 'websocket'],
    ]);
    request.end();
    return request;
  }

  renew(): void {
    const before = [...this.#agents.values()];
    this.#agents.clear();
    for (const agent of before) closeIdle(agent);
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }

  #open(rule: CompiledRule, target: Target, outgoing: OutgoingRequest, added: Pairs): ClientRequest {
    const options: RequestOptions = {
      agent: this.#agentOf(rule),
      host: target.host,
      port: target.port,
      path: target.path,
      method: outgoing.method,
      // Flat name, value, name, value: order and duplicates as the client sent them.
      headers: [...outgoing.headers, ...added].flat(),
      setHost: false,
      lookup: checkedLookup(this.#resolve, rule.privateRanges),
    };
    return rule.plaintext ? httpRequest(options) : httpsRequest({ ...options, servername: target.host });
  }

  #agentOf(rule: CompiledRule): HttpAgent | HttpsAgent {
    let agent = this.#agents.get(rule);
    if (agent === undefined) {
      agent = rule.plaintext
        ? new HttpAgent(keep)
        : new HttpsAgent({
            ...keep,
            minVersion: 'TLSv1.2',
            ALPNProtocols: ['http/1.1'],
            ...authoritiesOf(rule),
          });
      this.#agents.set(rule, agent);
    }
    return agent;
  }
}

/** What is in use serves its request to the end and is not kept. */
function closeIdle(agent: HttpAgent | HttpsAgent): void {
  for (const sockets of Object.values(agent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
  agent.maxFreeSockets = 0;
}

const repeatable = ({ method, hasBody }: OutgoingRequest): boolean =>
  !hasBody && ['GET', 'HEAD', 'OPTIONS'].includes(method);

/** A body whose length the client did not say is sent in chunks. */
const framing = ({ hasBody, headers }: OutgoingRequest): Pairs =>
  hasBody && !headers.some(([name]) => name === 'content-length') ? [['transfer-encoding', 'chunked']] : [];
