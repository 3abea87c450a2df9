import { connect, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { providerRequest } from '../../pure/contracts/index.ts';
import type { ProviderBootstrap } from './bootstrap.ts';
import { checkSpiffePeer, join, renew, type Endpoint, type Svid } from './identity.ts';

/** One operation of a provider. `session` is from the subject; throw ProviderFailure for an answer that the caller may see. */
export type Operation = (
  args: Record<string, unknown>,
  context: { readonly session: string },
) => Promise<Record<string, unknown>>;

/** An error for the caller: a short code (`not-found`) and one sentence without anything secret. */
export class ProviderFailure extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'ProviderFailure';
    this.code = code;
  }
}

const maxReply = 1_000_000;
const betweenTriesMs = 200;

/**
 * Joins, serves `gb.provider.<domain>.*.*` in the domain's queue group, and keeps its certificate fresh: the next connection
 * is open and subscribed before the old one drains, so no call is lost. Ends (rejects) when it has no valid certificate left.
 */
export async function serveProvider(
  bootstrap: ProviderBootstrap,
  operations: Readonly<Record<string, Operation>>,
): Promise<never> {
  const endpoint: Endpoint = { ...bootstrap.workloadApi, trustDomain: bootstrap.trustDomain };
  let svid = await join(endpoint, bootstrap.bundlePem, bootstrap.joinToken);
  const newest: Newest = {};
  let served = await open(bootstrap, svid, operations, newest);
  for (;;) {
    await Promise.race([halfLife(svid), served.connection.closed()]);
    svid = await renew(endpoint, svid);
    const next = await openUntilItEnds(bootstrap, svid, operations, newest);
    void retire(served);
    served = next;
  }
}

/** A call may outlast its connection's certificate: its answer is this identity's on any connection. */
interface Newest {
  connection?: NatsConnection;
}

interface Served {
  readonly connection: NatsConnection;
  readonly subscription: Subscription;
  /** Calls that were taken and are not answered. */
  readonly underWay: Set<Promise<void>>;
}

/**
 * Takes no more calls, answers those that it has, then closes. A connection's own drain would close under a call that is
 * still being carried out. The server ends the connection with its certificate in any case.
 */
async function retire({ connection, subscription, underWay }: Served): Promise<void> {
  try {
    await subscription.drain();
    await Promise.all(underWay);
    // Not `close`: what was answered last may still wait to be sent.
    await connection.drain();
  } catch (error) {
    if (!connection.isClosed()) throw error;
  }
}

/** The bus may be away for a moment; the old connection serves meanwhile. */
async function openUntilItEnds(
  bootstrap: ProviderBootstrap,
  svid: Svid,
  operations: Readonly<Record<string, Operation>>,
  newest: Newest,
): Promise<Served> {
  for (;;) {
    try {
      return await open(bootstrap, svid, operations, newest);
    } catch (error) {
      if (svid.notAfter.getTime() <= Date.now()) throw error;
      await new Promise((resolve) => setTimeout(resolve, betweenTriesMs));
    }
  }
}

const halfLife = (svid: Svid): Promise<void> =>
  new Promise((resolve) => {
    const middle = (svid.notBefore.getTime() + svid.notAfter.getTime()) / 2;
    setTimeout(resolve, Math.max(0, middle - Date.now()));
  });

async function open(
  bootstrap: ProviderBootstrap,
  svid: Svid,
  operations: Readonly<Record<string, Operation>>,
  newest: Newest,
): Promise<Served> {
  const { domain, name } = bootstrap;
  const tls = {
    // No byte of the protocol before both sides are verified: the bus offers nothing else.
    handshakeFirst: true,
    ca: svid.bundlePem,
    cert: svid.chainPem,
    key: svid.keyPem,
    minVersion: 'TLSv1.3',
    checkServerIdentity: checkSpiffePeer(`spiffe://${bootstrap.trustDomain}/bus/`),
  };
  const connection = await connect({
    servers: `${bootstrap.bus.host}:${String(bootstrap.bus.port)}`,
    name: `provider/${domain}/${name}`,
    inboxPrefix: `_INBOX.provider.${domain}.${name}`,
    reconnect: false,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
    tls,
  });
  const underWay = new Set<Promise<void>>();
  const subscription = connection.subscribe(`gb.provider.${domain}.*.*`, {
    queue: domain,
    callback: (error, message) => {
      // A request that names no place for its answer is none: nothing is done for it.
      if (error !== null || message.reply === undefined || message.reply === '') return;
      const { reply } = message;
      const answered = answer(message, operations)
        .then((text) => {
          const open = connection.isClosed() ? newest.connection : connection;
          // With the server gone too, the caller hears of no answer, and the outcome is unknown.
          if (open?.isClosed() === false) open.publish(reply, text);
        })
        .finally(() => underWay.delete(answered));
      underWay.add(answered);
    },
  });
  await connection.flush();
  newest.connection = connection;
  return { connection, subscription, underWay };
}

async function answer(message: Msg, operations: Readonly<Record<string, Operation>>): Promise<string> {
  const [, , , operation = '', session = ''] = message.subject.split('.');
  const run = Object.hasOwn(operations, operation) ? operations[operation] : undefined;
  let reply: object;
  try {
    if (run === undefined) throw new ProviderFailure('unknown-operation', 'There is no such operation.');
    const request = providerRequest.parse(message.json());
    reply = { ok: true, result: await run(request.args, { session }) };
  } catch (error) {
    reply =
      error instanceof ProviderFailure
        ? { ok: false, error: { code: error.code, message: error.message.slice(0, 1000) } }
        : { ok: false, error: { code: 'failed', message: 'The operation failed.' } };
  }
  const text = JSON.stringify(reply);
  if (Buffer.byteLength(text) <= maxReply) return text;
  const error = { code: 'too-large', message: 'The answer is larger than the bus carries.' };
  return JSON.stringify({ ok: false, error });
}
