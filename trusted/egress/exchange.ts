import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, type Duplex, type Readable, type Writable } from 'node:stream';
import { asGloveboxError, GloveboxError } from '../../pure/contracts/index.ts';
import type { EgressRequest } from '../../pure/egress/index.ts';
import { AddressRefused, upstreamError } from './addresses.ts';
import { EchoGuard } from './echo-guard.ts';
import { pairsOf, requestHeaders, responseHeaders } from './headers.ts';
import { http1Inbound, type Destination, type Inbound } from './inbound.ts';
import { entryOf, Permissions, type Permitted } from './permission.ts';
import type { EgressIntent, EgressOptions, EgressStamp } from './port.ts';
import type { Answer, OutgoingRequest, Sending } from './sending.ts';
import { RequestsUnderWay } from './under-way.ts';
import type { Upstreams } from './upstream.ts';

/** One request from the agent to an upstream, decided, written down, and carried out. */
export class Exchange<S extends EgressStamp, I extends EgressIntent> {
  readonly #options: EgressOptions<S, I>;
  readonly #permissions: Permissions<S, I>;
  readonly #upstreams: Upstreams;
  readonly #underWay: RequestsUnderWay;

  constructor(options: EgressOptions<S, I>, upstreams: Upstreams) {
    this.#options = options;
    this.#permissions = new Permissions(options);
    this.#upstreams = upstreams;
    this.#underWay = new RequestsUnderWay(options.policy);
  }

  /** The policy has changed: what it refuses now ends now, streams and sockets that live long above all. */
  recheck(): void {
    for (const { question, rule } of this.#underWay.recheck()) {
      const entry = entryOf(this.#options.stamp(), question);
      this.#options.audit.event({ ...entry, decision: 'deny', rule, detail: 'cut: the policy was changed' });
    }
  }

  async serve(inbound: Inbound, destination: Destination): Promise<void> {
    let gone = false as boolean;
    const begun = this.#underWay.begin(questionOf(inbound, destination), () => {
      inbound.cut();
    });
    inbound.onceClosed((complete) => {
      gone = !complete;
      this.#underWay.over(begun);
    });
    try {
      const permitted = await this.#permissions.permit(inbound, destination, begun);
      if (gone) {
        await this.#permissions.finish(permitted, {
          result: 'error',
          detail: 'the client left before it was sent',
        });
        return;
      }
      inbound.proceed();
      const outgoing = this.#outgoing(inbound, destination, permitted);
      const target = { ...place(destination), path: permitted.path };
      const sending = this.#upstreams.send(permitted.rule, target, outgoing, inbound.protocol === 'HTTP/2');
      inbound.onceClosed((complete) => {
        if (!complete) sending.abort();
      });
      await this.#carry(inbound, destination, permitted, sending);
    } catch (error) {
      inbound.refuse(asGloveboxError(error));
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
    const inbound = http1Inbound(request, response, request.url ?? '/');
    const begun = this.#underWay.begin(questionOf(inbound, destination), () => {
      inbound.cut();
    });
    socket.once('close', () => this.#underWay.over(begun));
    try {
      const permitted = await this.#permissions.permit(inbound, destination, begun);
      const target = { ...place(destination), path: permitted.path };
      const outgoing = this.#upstreams.upgrade(
        permitted.rule,
        target,
        this.#outgoing(inbound, destination, permitted),
      );
      outgoing.on('error', (error) => {
        void this.#failed(inbound, destination, permitted, error);
      });
      outgoing.on('response', (answer) => {
        void this.#answer(inbound, permitted, {
          status: answer.statusCode ?? 502,
          headers: pairsOf(answer.rawHeaders),
          body: answer,
          headAlone: false,
          trailers: () => [],
        });
      });
      outgoing.on('upgrade', (answer, upstream, upstreamHead) => {
        const headers = [
          ...responseHeaders(pairsOf(answer.rawHeaders)).flat(),
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
        upstream.once('close', () => {
          const { bytesRead, bytesWritten } = upstream as Duplex & {
            bytesRead: number;
            bytesWritten: number;
          };
          const detail = `websocket closed, ${String(bytesRead)} bytes in, ${String(bytesWritten)} bytes out`;
          void this.#permissions.finish(permitted, { result: 'ok', detail });
        });
      });
    } catch (error) {
      inbound.refuse(asGloveboxError(error));
    }
  }

  #outgoing(inbound: Inbound, destination: Destination, permitted: Permitted<S, I>): OutgoingRequest {
    const { host, port } = place(destination);
    const usual = destination.scheme === 'https' ? 443 : 80;
    const authority = port === usual ? host : `${host}:${String(port)}`;
    return {
      method: inbound.method,
      headers: requestHeaders(inbound.headers, authority, permitted.inject, permitted.credential),
      body: inbound.body,
      hasBody: inbound.hasBody,
    };
  }

  async #carry(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    sending: Sending,
  ): Promise<void> {
    let answer: Answer;
    try {
      answer = await sending.answer;
    } catch (error) {
      await this.#failed(inbound, destination, permitted, error as Error);
      return;
    }
    await this.#answer(inbound, permitted, answer, sending.address());
  }

  async #failed(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    error: Error,
  ): Promise<void> {
    const refused = error instanceof AddressRefused;
    if (refused) {
      this.#options.audit.event({
        ...permitted.entry,
        decision: 'deny',
        rule: 'egress.address',
        alert: true,
        detail: error.message,
      });
    }
    inbound.refuse(
      refused
        ? new GloveboxError('GB_EGRESS_DENIED', {
            target: destination.host,
            detail: error.message,
            rule: 'egress.address',
            todo: 'Private addresses are reached only where the policy names their range.',
          })
        : upstreamError(destination.host, error),
    );
    await this.#permissions.finish(permitted, {
      result: refused ? 'error' : 'unknown',
      detail: error.message,
    });
  }

  /** Headers at once, then bytes as they come; a redirect is handed over, never followed. */
  async #answer(
    inbound: Inbound,
    permitted: Permitted<S, I>,
    answer: Answer,
    address: string | null = null,
  ): Promise<void> {
    const { credential } = permitted;
    if (credential !== null && answer.headers.some(([, value]) => value.includes(credential))) {
      answer.body.destroy();
      inbound.refuse(
        new GloveboxError('GB_UPSTREAM_FAILED', {
          what: 'The upstream',
          detail: 'its reply held the credential, and was cut',
        }),
      );
      await this.#permissions.finish(permitted, {
        result: 'error',
        detail: 'the reply held the credential in a header',
      });
      return;
    }
    const bodiless =
      answer.headAlone || inbound.method === 'HEAD' || answer.status === 204 || answer.status === 304;
    const out = inbound.respond(answer.status, answer.headers, bodiless);
    let bytes = 0;
    answer.body.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const error = bodiless
      ? await drained(answer.body, out)
      : await this.#stream(inbound, answer, out, credential);
    const detail = [
      String(answer.status),
      `${String(bytes)} bytes`,
      `${(performance.now() - permitted.began).toFixed(0)} ms`,
      ...(address === null ? [] : [address]),
      ...(error === null ? [] : [error.message]),
    ].join(', ');
    await this.#permissions.finish(permitted, { result: error === null ? 'ok' : 'error', detail });
  }

  #stream(
    inbound: Inbound,
    answer: Answer,
    out: Writable,
    credential: string | null,
  ): Promise<NodeJS.ErrnoException | null> {
    // Before the end of the body reaches the client, its trailers are known.
    answer.body.prependOnceListener('end', () => {
      const trailers = answer.trailers();
      if (trailers.length > 0) inbound.trailers(trailers);
    });
    return new Promise((resolve) => {
      const done = (error?: NodeJS.ErrnoException | null): void => {
        resolve(error ?? null);
      };
      if (credential === null) pipeline(answer.body, out, done);
      else pipeline(answer.body, new EchoGuard(credential), out, done);
    });
  }
}

const questionOf = (inbound: Inbound, destination: Destination): EgressRequest => ({
  scheme: destination.scheme,
  connectHost: destination.host,
  connectPort: destination.port,
  sni: destination.sni,
  method: inbound.method,
  target: inbound.target,
  headers: inbound.headers,
});

const place = ({ host, port }: Destination): { host: string; port: number } => ({
  host: host.toLowerCase(),
  port,
});

/** An answer without a body is at its end once its stream is. */
const drained = (body: Readable, out: Writable): Promise<Error | null> =>
  new Promise((resolve) => {
    body.once('error', resolve);
    body.once('close', () => {
      resolve(null);
    });
    body.resume();
    if (!out.writableEnded) out.end();
  });
