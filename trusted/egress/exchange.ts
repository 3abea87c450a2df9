import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, type Duplex } from 'node:stream';
import { asGloveboxError, GloveboxError } from '../../pure/contracts/index.ts';
import {
  decide,
  type CompiledRule,
  type EgressDecision,
  type EgressRequest,
  type Injection,
} from '../../pure/egress/index.ts';
import { EchoGuard } from './echo-guard.ts';
import { pairsOf, requestHeaders, responseHeaders } from './headers.ts';
import type { EgressIntent, EgressOptions, EgressRecord, EgressStamp } from './port.ts';
import { RequestsUnderWay, type UnderWay } from './under-way.ts';
import { AddressRefused, upstreamError, type Upstreams } from './upstream.ts';

/** Where the agent's connection leads: from its CONNECT and TLS handshake, or from an absolute-form target. */
export interface Destination {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port: number;
  readonly sni: string | null;
}

interface Permitted<I> {
  readonly rule: CompiledRule;
  readonly path: string;
  readonly inject: Injection | null;
  readonly credential: string | null;
  readonly intent: I | null;
}

/** One request from the agent to an upstream, decided, written down, and carried out. */
export class Exchange<S extends EgressStamp, I extends EgressIntent> {
  readonly #options: EgressOptions<S, I>;
  readonly #upstreams: Upstreams;
  readonly #underWay: RequestsUnderWay;

  constructor(options: EgressOptions<S, I>, upstreams: Upstreams) {
    this.#options = options;
    this.#upstreams = upstreams;
    this.#underWay = new RequestsUnderWay(options.policy);
  }

  /** The policy has changed: what it refuses now ends now, streams and sockets that live long above all. */
  recheck(): void {
    for (const { question, rule } of this.#underWay.recheck()) {
      const place = { ...question, host: question.connectHost, port: question.connectPort };
      const record = this.#record(this.#options.stamp(), question, place);
      this.#options.audit.event({ ...record, decision: 'deny', rule, detail: 'cut: the policy was changed' });
    }
  }

  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    destination: Destination,
    target: string,
  ): Promise<void> {
    const begun = this.#begin(request, response, destination, target);
    try {
      const permitted = await this.#permit(request, destination, begun);
      if (request.headers.expect !== undefined) response.writeContinue();
      const outgoing = this.#open(request, destination, permitted, false);
      this.#carry(request, response, outgoing, destination, permitted);
    } catch (error) {
      refuse(response, asGloveboxError(error));
    }
  }

  /** A WebSocket: decided like a request, then bytes both ways. */
  async upgrade(
    request: IncomingMessage,
    response: ServerResponse,
    socket: Duplex,
    head: Buffer,
    destination: Destination,
  ): Promise<void> {
    const begun = this.#begin(request, response, destination, request.url ?? '/');
    socket.once('close', () => this.#underWay.over(begun));
    try {
      const permitted = await this.#permit(request, destination, begun);
      const outgoing = this.#open(request, destination, permitted, true);
      outgoing.on('error', (error) => {
        void this.#finish(permitted, 'error', error.message);
        refuse(response, this.#failure(destination, error));
      });
      outgoing.on('response', (answer) => {
        this.#answer(answer, response, permitted);
      });
      outgoing.on('upgrade', (answer, upstream, upstreamHead) => {
        const headers = [
          ...responseHeaders(pairsOf(answer.rawHeaders)),
          'connection',
          'Upgrade',
          'upgrade',
          'websocket',
        ];
        response.writeHead(101, headers);
        response.flushHeaders();
        response.detachSocket(socket as never);
        if (upstreamHead.length > 0) socket.write(upstreamHead);
        if (head.length > 0) upstream.write(head);
        pipeline(socket, upstream, socket, () => undefined);
        upstream.once('close', () => void this.#finish(permitted, 'ok', 'websocket closed'));
      });
      outgoing.end();
    } catch (error) {
      refuse(response, asGloveboxError(error));
    }
  }

  #begin(
    request: IncomingMessage,
    response: ServerResponse,
    destination: Destination,
    target: string,
  ): UnderWay {
    const question: EgressRequest = {
      scheme: destination.scheme,
      connectHost: destination.host,
      connectPort: destination.port,
      sni: destination.sni,
      method: request.method ?? '',
      target,
      headers: pairsOf(request.rawHeaders),
    };
    const { socket } = request;
    const begun = this.#underWay.begin(question, () => socket.destroy());
    // An upgrade's response is over when its socket begins; that one is over with its socket.
    if (request.headers.upgrade === undefined) response.once('close', () => this.#underWay.over(begun));
    return begun;
  }

  async #permit(request: IncomingMessage, destination: Destination, begun: UnderWay): Promise<Permitted<I>> {
    const stamp = this.#options.stamp();
    const { question } = begun;
    if (request.httpVersion === '1.0' && request.headers['transfer-encoding'] !== undefined) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: 'The request',
        detail: 'HTTP/1.0 knows no transfer encoding',
      });
    }
    const { egress, placeholders } = this.#options.policy;
    const decision = decide(egress, placeholders, question);
    const record = this.#record(stamp, question, destination);
    if (decision.decision === 'deny') return this.#deny(record, question, destination, decision);
    begun.decided = decision.decision;
    const allowed = decision.decision === 'ask' ? await this.#consented(record, stamp, decision) : decision;
    const permitted = await this.#recorded(record, stamp, allowed);
    if (!begun.cut) return permitted;
    await this.#finish(permitted, 'error', 'the policy was changed before anything was sent');
    throw new GloveboxError('GB_EGRESS_DENIED', {
      target: record.target,
      detail: 'the policy was changed meanwhile',
      rule: 'egress.changed',
      todo: 'Ask the person to add an egress rule to the policy.',
    });
  }

  #record(
    stamp: S | null,
    question: EgressRequest,
    destination: Destination,
  ): Omit<EgressRecord<S>, 'decision' | 'rule'> {
    const path = question.target.split('?', 1)[0] ?? '/';
    return {
      stamp,
      operation: `egress:${question.method}`,
      target: `${destination.scheme}://${destination.host}:${String(destination.port)}${path}`,
      secret: null,
      alert: false,
      detail: null,
    };
  }

  #deny(
    record: Omit<EgressRecord<S>, 'decision' | 'rule'>,
    question: EgressRequest,
    destination: Destination,
    { rule, why, todo, alert }: Extract<EgressDecision, { decision: 'deny' }>,
  ): never {
    this.#options.audit.event({ ...record, decision: 'deny', rule, alert, detail: why });
    throw new GloveboxError('GB_EGRESS_DENIED', {
      target: `${question.method} ${destination.host}`,
      detail: why,
      rule,
      todo,
    });
  }

  async #consented(
    record: Omit<EgressRecord<S>, 'decision' | 'rule'>,
    stamp: S | null,
    decision: Extract<EgressDecision, { decision: 'ask' }>,
  ): Promise<Extract<EgressDecision, { decision: 'allow' }>> {
    const granted = stamp !== null && (await this.#options.takeGrant(stamp, decision.scope));
    if (granted && decision.allowed.decision === 'allow') return { ...decision.allowed, audited: true };
    this.#options.audit.event({ ...record, decision: 'ask', rule: decision.rule.id, detail: decision.scope });
    throw new GloveboxError('GB_CONSENT_REQUIRED', { scope: decision.scope, rule: decision.rule.id });
  }

  /** What has an effect or gets a credential is stored before anything goes out (R42), and needs a person's turn. */
  async #recorded(
    record: Omit<EgressRecord<S>, 'decision' | 'rule'>,
    stamp: S | null,
    { rule, path, inject, audited }: Extract<EgressDecision, { decision: 'allow' }>,
  ): Promise<Permitted<I>> {
    const entry = { ...record, decision: 'allow', rule: rule.id, secret: inject?.secret ?? null } as const;
    if (!audited) {
      this.#options.audit.event(entry);
      return { rule, path, inject: null, credential: null, intent: null };
    }
    if (stamp === null) {
      this.#options.audit.event({ ...entry, decision: 'deny', rule: 'turn.none', detail: 'no turn is open' });
      throw new GloveboxError('GB_EGRESS_DENIED', {
        target: record.target,
        detail: 'no turn is open',
        rule: 'turn.none',
        todo: 'Wait for a person.',
      });
    }
    const intent = await this.#options.audit.intent(entry);
    if (inject === null) return { rule, path, inject, credential: null, intent };
    try {
      const secret = await this.#options.readSecret(inject.secret, intent.sequence);
      return { rule, path, inject, credential: secret.reveal(), intent };
    } catch (error) {
      await this.#options.audit.outcome(intent, 'error', 'the secret could not be read');
      throw error;
    }
  }

  #open(
    request: IncomingMessage,
    destination: Destination,
    permitted: Permitted<I>,
    upgrade: boolean,
  ): ClientRequest {
    const headers = requestHeaders(
      pairsOf(request.rawHeaders),
      permitted.inject,
      permitted.credential,
      upgrade,
    );
    const target = { host: destination.host.toLowerCase(), port: destination.port, path: permitted.path };
    return this.#upstreams.open(permitted.rule, target, headers, request.method ?? 'GET');
  }

  #carry(
    request: IncomingMessage,
    response: ServerResponse,
    outgoing: ClientRequest,
    destination: Destination,
    permitted: Permitted<I>,
  ): void {
    let answered = false;
    outgoing.on('error', (error) => {
      if (answered) return;
      answered = true;
      void this.#finish(permitted, error instanceof AddressRefused ? 'error' : 'unknown', error.message);
      if (error instanceof AddressRefused) {
        this.#options.audit.event({
          stamp: null,
          operation: `egress:${request.method ?? ''}`,
          target: `${destination.scheme}://${destination.host}:${String(destination.port)}`,
          decision: 'deny',
          rule: 'egress.address',
          secret: null,
          alert: true,
          detail: error.message,
        });
      }
      refuse(response, this.#failure(destination, error));
    });
    outgoing.on('response', (answer) => {
      answered = true;
      this.#answer(answer, response, permitted);
    });
    response.once('close', () => {
      if (!response.writableFinished) outgoing.destroy();
    });
    pipeline(request, outgoing, () => undefined);
  }

  /** Headers at once, then bytes as they come; a redirect is handed over, never followed. */
  #answer(answer: IncomingMessage, response: ServerResponse, permitted: Permitted<I>): void {
    const pairs = pairsOf(answer.rawHeaders);
    const { credential } = permitted;
    if (credential !== null && pairs.some(([, value]) => value.includes(credential))) {
      answer.destroy();
      void this.#finish(permitted, 'error', 'the reply held the credential in a header');
      refuse(
        response,
        new GloveboxError('GB_UPSTREAM_FAILED', {
          what: 'The upstream',
          detail: 'its reply held the credential, and was cut',
        }),
      );
      return;
    }
    response.writeHead(answer.statusCode ?? 502, responseHeaders(pairs));
    response.flushHeaders();
    let bytes = 0;
    answer.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const done = (error: NodeJS.ErrnoException | null): void => {
      const detail = `${String(answer.statusCode)}, ${String(bytes)} bytes${error === null ? '' : `, ${error.message}`}`;
      void this.#finish(permitted, error === null ? 'ok' : 'error', detail);
    };
    answer.once('end', () => {
      const trailers = pairsOf(answer.rawTrailers);
      if (trailers.length > 0) response.addTrailers(trailers);
    });
    if (credential === null)
      pipeline(answer, response, (error) => {
        done(error ?? null);
      });
    else
      pipeline(answer, new EchoGuard(credential), response, (error) => {
        done(error ?? null);
      });
  }

  #failure(destination: Destination, error: Error): GloveboxError {
    return error instanceof AddressRefused
      ? new GloveboxError('GB_EGRESS_DENIED', {
          target: destination.host,
          detail: error.message,
          rule: 'egress.address',
          todo: 'Private addresses are reached only where the policy names their range.',
        })
      : upstreamError(destination.host, error);
  }

  async #finish(permitted: Permitted<I>, result: 'ok' | 'error' | 'unknown', detail: string): Promise<void> {
    if (permitted.intent !== null) await this.#options.audit.outcome(permitted.intent, result, detail);
  }
}

/** The error as the body, where the answer has not begun; else the connection ends. */
export function refuse(response: ServerResponse, error: GloveboxError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = JSON.stringify(error.toBody());
  response.writeHead(error.status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
    'x-glovebox-error': error.code,
  });
  response.end(body);
}
