import { createServer, type Server } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { CompactEncrypt, importJWK } from 'jose';
import {
  asSessionId,
  auditSubject,
  encodeId,
  sealing,
  type CredentialUse,
  type SecretKind,
} from '../../pure/contracts/index.ts';
import { SecretBroker } from '../../trusted/secrets/broker.ts';
import { EmbeddedBackend } from '../../trusted/secrets/embedded-backend.ts';
import { callOut } from '../../trusted/secrets/outgoing.ts';
import { SealingKey } from '../../trusted/secrets/sealing-key.ts';
import { listening, type Authority } from './egress-world.ts';

export const session = asSessionId(encodeId(new Uint8Array(16).fill(1)));

export interface Asked {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A token endpoint of ours: real TLS on loopback. */
export interface TokenServer {
  readonly port: number;
  readonly asked: Asked[];
  answer: (asked: Asked) => Reply | Promise<Reply>;
  close(): void;
}

export async function tokenServer(authority: Authority, host: string): Promise<TokenServer> {
  const asked: Asked[] = [];
  const world: { answer: TokenServer['answer'] } = { answer: () => ({ body: {} }) };
  const server: Server = createServer(await authority.certificate(host), (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = {
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      asked.push(one);
      void Promise.resolve(world.answer(one)).then(({ status = 200, headers = {}, body }) => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
      });
    });
  });
  const port = await listening(server);
  return {
    port,
    asked,
    get answer() {
      return world.answer;
    },
    set answer(next) {
      world.answer = next;
    },
    close: () => server.close(),
  };
}

export interface BrokerWorld {
  readonly broker: SecretBroker;
  /** Everything that went over to the session's sidecar, as JSON. */
  readonly wire: string[];
  readonly reports: { secret: string; host: string; failure: string | null }[];
  readonly clock: { now: number };
  readonly resolved: string[];
  set(name: string, kind: SecretKind, value: unknown): Promise<void>;
  /** A stored intent of the session for that secret. */
  intent(secret: string): number;
  /** What a sidecar gets, over the wire. */
  read(secret: string, github?: Parameters<SecretBroker['read']>[3]): Promise<string>;
}

export async function brokerWorld(
  folder: string,
  uses: readonly CredentialUse[],
  addresses: readonly string[] = ['127.0.0.1'],
): Promise<BrokerWorld> {
  const clock = { now: Date.parse('2026-11-01T00:00:00.000Z') };
  const intents = new Map<number, string>();
  const wire: string[] = [];
  const reports: BrokerWorld['reports'] = [];
  const resolved: string[] = [];
  const key = await SealingKey.open(join(folder, 'store')).catch(async () => {
    await EmbeddedBackend.open(join(folder, 'store'), () => clock.now);
    return await SealingKey.open(join(folder, 'store'));
  });
  const backend = await EmbeddedBackend.open(join(folder, 'store'), () => clock.now);
  const broker = new SecretBroker({
    backend,
    sealingKey: key,
    readStored: async (sequence) => {
      const secret = intents.get(sequence);
      if (secret === undefined) return undefined;
      const record = {
        version: 1,
        id: encodeId(new Uint8Array(16).fill(5)),
        session,
        turn: null,
        user: null,
        sandbox: null,
        component: 'sidecar',
        kind: 'intent',
        operation: 'egress:POST',
        args_hash: null,
        secret,
        decision: 'allow',
        rule: 'egress.0',
        time: new Date(clock.now).toISOString(),
      };
      return { subject: auditSubject(session, 'sidecar'), data: Buffer.from(JSON.stringify(record)) };
    },
    bindings: async (of) => ({
      secrets: of === session ? [...new Set(uses.map(({ secret }) => secret))] : [],
      uses,
    }),
    call: callOut(async (host) => {
      resolved.push(host);
      return addresses;
    }),
    onAsked: (report) => reports.push(report),
    now: () => clock.now,
  });
  const intent = (secret: string): number => {
    intents.set(intents.size + 1, secret);
    return intents.size;
  };
  return {
    broker,
    wire,
    reports,
    clock,
    resolved,
    intent,
    set: async (name, kind, value) => {
      const content = { name, kind, value: typeof value === 'string' ? value : JSON.stringify(value) };
      const sealed = await new CompactEncrypt(Buffer.from(JSON.stringify(content)))
        .setProtectedHeader({ ...sealing, kid: key.publicJwk.kid ?? '' })
        .encrypt(await importJWK(key.publicJwk, sealing.alg));
      await broker.put(name, sealed);
    },
    read: async (secret, github) => {
      try {
        const answer = await broker.read(session, secret, intent(secret), github);
        wire.push(JSON.stringify(answer));
        return answer.value;
      } catch (error) {
        wire.push(JSON.stringify(error), String(error));
        throw error;
      }
    },
  };
}
