import { X509Certificate } from 'node:crypto';
import { Agent, request, type AgentOptions } from 'node:https';
import type { z } from 'zod';
import {
  errorCatalogue,
  GloveboxError,
  limits,
  type ErrorCode,
  type IdentityKind,
  type Route,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import { IdentityAgent, readSvid, type TlsIdentity } from '../identity/index.ts';

export interface RouteAddress {
  readonly host: string;
  readonly port: number;
}

type Part<R, K extends string> =
  R extends Record<K, infer S> ? (S extends z.ZodType ? z.input<S> : never) : never;
/** What a route takes: its path parameters and its body, where it has them. */
export type RouteInput<R extends Route> = (R extends Record<'params', z.ZodType>
  ? { params: Part<R, 'params'> }
  : unknown) &
  (R extends Record<'body', z.ZodType> ? { body: Part<R, 'body'> } : unknown);

/** Calls the routes of a registry as this identity. The server must be of the one kind that is expected. */
export class RouteClient<Routes extends Record<string, Route>> {
  readonly #routes: Routes;
  readonly #address: () => RouteAddress;
  readonly #agent: Agent;

  constructor(routes: Routes, address: () => RouteAddress, agent: Agent) {
    this.#routes = routes;
    this.#address = address;
    this.#agent = agent;
  }

  static withIdentity<R extends Record<string, Route>>(
    routes: R,
    address: () => RouteAddress,
    identity: TlsIdentity,
    server: IdentityKind,
  ): RouteClient<R> {
    return new RouteClient(
      routes,
      address,
      new IdentityAgent(identity, (peer) => peer.kind === server, { keepAlive: true }),
    );
  }

  /** For a join: without a certificate of our own, the server verified all the same. */
  static anonymous<R extends Record<string, Route>>(
    routes: R,
    address: () => RouteAddress,
    bundlePem: string,
    trustDomain: TrustDomain,
    server: IdentityKind,
  ): RouteClient<R> {
    const options: AgentOptions = {
      ca: bundlePem,
      minVersion: 'TLSv1.3',
      maxCachedSessions: 0,
      checkServerIdentity: (_host, peer) => {
        const read = readSvid(new X509Certificate(peer.raw), 'server');
        if (!read.ok) return new Error(read.reason);
        const { identity } = read.value;
        const good = identity.kind === server && identity.trustDomain === trustDomain;
        return good ? undefined : new Error(`the server is ${identity.id}`);
      },
    };
    return new RouteClient(routes, address, new Agent(options));
  }

  async call<K extends keyof Routes & string>(
    name: K,
    input: RouteInput<Routes[K]>,
  ): Promise<z.output<Routes[K]['response']>> {
    const route: Route = this.#routes[name] as Route;
    const { params, body } = input as { params?: Record<string, string>; body?: unknown };
    const path = route.path.replace(/:([a-z]+)/gi, (_, key: string) =>
      encodeURIComponent(params?.[key] ?? ''),
    );
    const { status, text } = await this.#exchange(route.method, path, body);
    if (status !== 200) throw errorOf(text, path);
    return route.response.parse(JSON.parse(text)) as z.output<Routes[K]['response']>;
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(method: string, path: string, body: unknown): Promise<{ status: number; text: string }> {
    const { host, port } = this.#address();
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (detail: string, cause?: Error): void =>
        reject(new GloveboxError('GB_UPSTREAM_FAILED', { what: path, detail }, { cause }));
      const call = request({
        host,
        port,
        method,
        path,
        agent: this.#agent,
        timeout: limits.operationTimeout.value,
        headers:
          payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
      });
      call.on('timeout', () => call.destroy(new Error('no answer in time')));
      call.on('error', (error) => fail(error.message, error));
      call.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > limits.operationBody.value) response.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', (error) => fail(error.message, error));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      });
      call.end(payload);
    });
  }
}

/** The server's catalogued error by its code; its words are made from the catalogue here, not taken from the wire. */
function errorOf(text: string, path: string): GloveboxError {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; why?: unknown } };
    if (typeof error?.code === 'string' && error.code in errorCatalogue) {
      const why = typeof error.why === 'string' ? error.why : 'refused';
      return new GloveboxError(error.code as ErrorCode, { what: path, detail: why, operation: path });
    }
  } catch {
    // No JSON: not one of our servers' answers.
    return new GloveboxError('GB_UPSTREAM_FAILED', {
      what: path,
      detail: 'it answered something else than JSON',
    });
  }
  return new GloveboxError('GB_UPSTREAM_FAILED', { what: path, detail: 'it answered with an unknown error' });
}
