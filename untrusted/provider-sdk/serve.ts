import { connect, type Msg, type NatsConnection } from '@nats-io/transport-node';
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
  let connection = await open(bootstrap, svid, operations);
  for (;;) {
    await Promise.race([halfLife(svid), closed(connection)]);
    svid = await renew(endpoint, svid);
    const next = await open(bootstrap, svid, operations);
    if (!connection.isClosed()) await connection.drain();
    connection = next;
  }
}

const halfLife = (svid: Svid): Promise<void> =>
  new Promise((resolve) => {
    const middle = (svid.notBefore.getTime() + svid.notAfter.getTime()) / 2;
    setTimeout(resolve, Math.max(0, middle - Date.now()));
  });

async function closed(connection: NatsConnection): Promise<void> {
  await connection.closed();
}

async function open(
  bootstrap: ProviderBootstrap,
  svid: Svid,
  operations: Readonly<Record<string, Operation>>,
): Promise<NatsConnection> {
  const { domain, name } = bootstrap;
  const tls = {
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
    tls,
  });
  connection.subscribe(`gb.provider.${domain}.*.*`, {
    queue: domain,
    callback: (error, message) => {
      if (error === null) void answer(message, operations);
    },
  });
  await connection.flush();
  return connection;
}

async function answer(message: Msg, operations: Readonly<Record<string, Operation>>): Promise<void> {
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
  message.respond(
    Buffer.byteLength(text) <= maxReply
      ? text
      : JSON.stringify({
          ok: false,
          error: { code: 'too-large', message: 'The answer is larger than the bus carries.' },
        }),
  );
}
