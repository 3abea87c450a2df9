import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, type Duplex, type Readable, type Transform, type Writable } from 'node:stream';
import { asGloveboxError, GloveboxError } from '../../pure/contracts/index.ts';
import { withCredential, type EgressRequest } from '../../pure/egress/index.ts';
import { AddressRefused } from '../outbound/index.ts';
import { upstreamError } from './upstream-error.ts';
import { BudgetSpent } from './budgets.ts';
import { decodedHeaders, decoderOf, uncoded } from './coding.ts';
import { echoesOf, PatternFound, PatternGuard } from './pattern-guard.ts';
import { pairsOf, requestHeaders, responseHeaders } from './headers.ts';
import { http1Inbound, type Destination, type Inbound } from './inbound.ts';
import { OutgoingBody } from './outgoing-body.ts';
import { entryOf, Permissions, type Permitted } from './permission.ts';
import type { EgressIntent, EgressOptions, EgressStamp } from './port.ts';
import type { Answer, OutgoingRequest, Sending, Target } from './sending.ts';
import { signed } from './signing.ts';
import { atThisMoment, trafficOf, type Way } from './traffic.ts';
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
      const permitted = await this.#permissions.permit(inbound, begun);
      if (gone) {
        await this.#permissions.finish(permitted, {
          result: 'error',
          detail: 'the client left before it was sent',
        });
        return;
      }
      inbound.proceed();
      const body = new OutgoingBody(permitted.body, this.#guards(permitted));
      const prepared = await this.#prepared(inbound, destination, permitted, body);
      if (prepared === null) return;
      const { target, outgoing } = prepared;
      const sending = this.#upstreams.send(permitted.rule, target, outgoing, inbound.protocol === 'HTTP/2');
      body.onBlocked(() => {
        sending.abort();
      });
      inbound.onceClosed((complete) => {
        if (!complete) sending.abort();
      });
      const way = { sent: outgoing.sent, address: () => sending.address() };
      await this.#carry(inbound, destination, prepared.permitted, { sending, way }, body);
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
      const permitted = await this.#permissions.permit(inbound, begun);
      if (permitted.inject?.place === 'signature') {
        await this.#permissions.finish(permitted, { result: 'error', detail: 'an upgrade is not signed' });
        throw new GloveboxError('GB_INPUT_INVALID', {
          what: 'The upgrade',
          detail: 'the rule signs requests, and a WebSocket is none',
        });
      }
      const { target, outgoing: wanted } = this.#outgoing(inbound, destination, permitted, inbound.body);
      const outgoing = this.#upstreams.upgrade(permitted.rule, target, wanted);
      const way = { sent: wanted.sent, address: () => outgoing.socket?.remoteAddress ?? null };
      outgoing.on('error', (error) => {
        void this.#failed(inbound, destination, permitted, error, way);
      });
      outgoing.on('response', (answer) => {
        const refused = {
          status: answer.statusCode ?? 502,
          headers: pairsOf(answer.rawHeaders),
          body: answer,
          headAlone: false,
          trailers: () => [],
        };
        void this.#answer(inbound, permitted, refused, way);
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
        // At both ends of a pipeline that watches each of its parts: a dozen listeners, which go with the socket.
        for (const end of [socket, upstream]) end.setMaxListeners(20);
        const counted = (): Transform[] => this.#permissions.counted(permitted.rule);
        pipeline([socket, ...counted(), upstream, ...counted(), socket], () => undefined);
        const address = way.address();
        upstream.once('close', () => {
          const { bytesRead, bytesWritten } = upstream as Duplex &
            Record<'bytesRead' | 'bytesWritten', number>;
          const detail = `websocket closed, ${String(bytesRead)} bytes in, ${String(bytesWritten)} bytes out`;
          const traffic = {
            status: 101,
            address,
            sent: bytesWritten,
            received: bytesRead,
            ms: performance.now() - permitted.began,
          };
          void this.#permissions.finish(permitted, { result: 'ok', detail, traffic });
        });
      });
    } catch (error) {
      inbound.refuse(asGloveboxError(error));
    }
  }

  /** The request as it goes out, signed where its rule says so; null: it was refused. */
  async #prepared(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    body: OutgoingBody,
  ): Promise<{ target: Target; outgoing: OutgoingRequest; permitted: Permitted<S, I> } | null> {
    const plain = this.#outgoing(inbound, destination, permitted, body.stream);
    const { inject, intent } = permitted;
    if (inject?.place !== 'signature' || intent === null) return { ...plain, permitted };
    const { host, port, path } = plain.target;
    const stopped = new Promise<never>((_, reject) => {
      body.onBlocked(() => {
        reject(body.blocked ?? new Error('the body was refused'));
      });
      inbound.onceClosed(() => {
        reject(new Error('the client left before it was sent'));
      });
    });
    stopped.catch(() => undefined);
    try {
      const made = await signed(
        this.#options.signRequest,
        inject,
        intent.sequence,
        { ...plain.outgoing, host, port, target: path, headers: uncoded(plain.outgoing.headers) },
        stopped,
      );
      return {
        target: { host, port, path: made.target },
        outgoing: { ...plain.outgoing, headers: made.headers, body: made.body },
        permitted: { ...permitted, credential: made.signature },
      };
    } catch (error) {
      if (!(error instanceof GloveboxError))
        await this.#failed(inbound, destination, permitted, error as Error, {
          sent: plain.outgoing.sent,
          address: () => null,
        });
      else {
        await this.#permissions.finish(permitted, { result: 'error', detail: 'it could not be signed' });
        inbound.refuse(error);
      }
      return null;
    }
  }

  #outgoing(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    body: Readable,
  ): { readonly target: Target; readonly outgoing: OutgoingRequest } {
    const { host, port } = place(destination);
    const usual = destination.scheme === 'https' ? 443 : 80;
    const authority = port === usual ? host : `${host}:${String(port)}`;
    const plain = { headers: requestHeaders(inbound.headers, authority), target: permitted.path };
    const { inject, credential } = permitted;
    const { headers, target } =
      inject === null || credential === null
        ? plain
        : withCredential(inject, credential, uncoded(plain.headers), plain.target);
    return {
      target: { host, port, path: target },
      outgoing: { method: inbound.method, headers, body, hasBody: inbound.hasBody, sent: { bytes: 0 } },
    };
  }

  /**
   * What a body passes on its way out: the rule's bounds, and a search for placeholders. Only the rule's own one may be in it: a model
   * is told of the environment that its agent has, and that must not end the session.
   */
  #guards({ rule }: Permitted<S, I>): Transform[] {
    const placeholders = Object.entries(this.#options.policy.placeholders)
      .filter(([secret]) => secret !== rule.credential?.secret)
      .map(([, placeholder]) => placeholder);
    return [
      ...this.#permissions.counted(rule, rule.maxBody),
      ...(placeholders.length === 0
        ? []
        : [new PatternGuard(placeholders, 'the body holds the placeholder of a secret')]),
    ];
  }

  async #carry(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    { sending, way }: { readonly sending: Sending; readonly way: Way },
    body: OutgoingBody,
  ): Promise<void> {
    let answer: Answer;
    try {
      answer = await sending.answer;
    } catch (error) {
      await this.#failed(inbound, destination, permitted, body.blocked ?? (error as Error), way);
      return;
    }
    await this.#answer(inbound, permitted, answer, way);
  }

  async #failed(
    inbound: Inbound,
    destination: Destination,
    permitted: Permitted<S, I>,
    error: Error,
    way: Way,
  ): Promise<void> {
    const refusal = refusalOf(error, permitted.rule.id);
    if (refusal !== null)
      this.#options.audit.event({
        ...permitted.entry,
        decision: 'deny',
        detail: error.message,
        ...refusal.record,
      });
    inbound.refuse(
      refusal === null
        ? upstreamError(destination.host, error)
        : new GloveboxError('GB_EGRESS_DENIED', {
            target: destination.host,
            detail: error.message,
            rule: refusal.record.rule,
            todo: refusal.todo,
          }),
    );
    await this.#permissions.finish(permitted, {
      result: refusal === null ? 'unknown' : 'error',
      detail: error.message,
      traffic: trafficOf(permitted, way, null, 0),
    });
  }

  /** Headers at once, then bytes as they come; a redirect is handed over, never followed. */
  async #answer(inbound: Inbound, permitted: Permitted<S, I>, answer: Answer, open: Way): Promise<void> {
    const way = atThisMoment(open);
    const { credential } = permitted;
    const echoes = credential === null ? [] : echoesOf(credential);
    const decoder = credential === null ? null : decoderOf(answer.headers);
    if (
      decoder === undefined ||
      answer.headers.some(([, value]) => echoes.some((text) => value.includes(text)))
    ) {
      answer.body.destroy();
      inbound.refuse(
        new GloveboxError('GB_UPSTREAM_FAILED', {
          what: 'The upstream',
          detail: 'its reply held the credential, or could hold it unseen, and was cut',
        }),
      );
      await this.#permissions.finish(permitted, {
        result: 'error',
        detail: 'the reply held the credential in a header, or has a coding that is not known',
        traffic: trafficOf(permitted, way, answer.status, 0),
      });
      return;
    }
    const bodiless =
      answer.headAlone || inbound.method === 'HEAD' || answer.status === 204 || answer.status === 304;
    const headers = decoder === null || bodiless ? answer.headers : decodedHeaders(answer.headers);
    const out = inbound.respond(answer.status, headers, bodiless);
    let bytes = 0;
    answer.body.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const error = bodiless
      ? await drained(answer.body, out)
      : await this.#stream(inbound, answer, out, [
          ...(decoder === null ? [] : [decoder]),
          ...this.#permissions.counted(permitted.rule),
          ...(echoes.length === 0 ? [] : [new PatternGuard(echoes, 'the reply holds the credential')]),
        ]);
    const traffic = trafficOf(permitted, way, answer.status, bytes);
    const detail = [
      String(answer.status),
      `${String(bytes)} bytes`,
      `${traffic.ms.toFixed(0)} ms`,
      ...(traffic.address === null ? [] : [traffic.address]),
      ...(error === null ? [] : [error.message]),
    ].join(', ');
    const result = error === null ? 'ok' : refusalOf(error, permitted.rule.id) === null ? 'unknown' : 'error';
    await this.#permissions.finish(permitted, { result, detail, traffic });
  }

  #stream(
    inbound: Inbound,
    answer: Answer,
    out: Writable,
    stages: readonly Transform[],
  ): Promise<NodeJS.ErrnoException | null> {
    // Before the end of the body reaches the client, its trailers are known.
    answer.body.prependOnceListener('end', () => {
      const trailers = answer.trailers();
      if (trailers.length > 0) inbound.trailers(trailers);
    });
    return new Promise((resolve) => {
      pipeline([answer.body, ...stages, out], (error) => {
        resolve(error ?? null);
      });
    });
  }
}

/** Why a request that was let through was refused all the same, and how it is recorded; null: the upstream failed. */
function refusalOf(
  error: Error,
  rule: string,
): { readonly record: { readonly rule: string; readonly alert: boolean }; readonly todo: string } | null {
  if (error instanceof AddressRefused)
    return {
      record: { rule: 'egress.address', alert: true },
      todo: 'Private addresses are reached only where the policy names their range.',
    };
  if (error instanceof PatternFound)
    return {
      record: { rule, alert: true },
      todo: 'A placeholder works in the place that its own rule names only.',
    };
  return error instanceof BudgetSpent
    ? { record: { rule, alert: false }, todo: 'Ask the person to raise the bound of the egress rule.' }
    : null;
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
