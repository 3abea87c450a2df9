import { join } from 'node:path';
import {
  asTrustDomain,
  GloveboxError,
  limits,
  secretRoutes,
  spiffeId,
  workloadRoutes,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { BusConnection, readStored } from '../bus/index.ts';
import type { ConnectionRegistry } from '../identity/index.ts';
import {
  joinWorkload,
  RequestRate,
  RouteClient,
  serveRoutes,
  type RouteServer,
} from '../workload-http/index.ts';
import { systemResolve } from '../outbound/index.ts';
import type { BrokerBootstrap, BrokerReport } from './bootstrap.ts';
import { SecretBroker } from './broker.ts';
import { EmbeddedBackend } from './embedded-backend.ts';
import { callOut } from './outgoing.ts';
import { SealingKey } from './sealing-key.ts';

/** Joins, opens its own folder and serves. Everything that it needs of others it asks for as `/secret-broker`. */
export async function serveBroker(
  bootstrap: BrokerBootstrap,
  connections: ConnectionRegistry,
  report: (message: BrokerReport) => void,
  onLost: (why: string) => void,
): Promise<RouteServer> {
  const trustDomain = asTrustDomain(bootstrap.trustDomain);
  const identity = await joinWorkload({
    ...bootstrap,
    trustDomain,
    expectedId: spiffeId(trustDomain, { kind: 'secret-broker' }),
  });
  const bus = await BusConnection.connect({
    address: bootstrap.bus,
    svid: identity.current(),
    identity: identity.current().identity,
  });
  identity.onRotate((svid) => {
    bus.rotate(svid).catch((error: unknown) => onLost(`the bus: ${String(error)}`));
  });
  identity.onEnd((reason) => onLost(reason.message));
  void bus.lost.then((error) => onLost(error.message));
  const controlPlane = RouteClient.withIdentity(
    workloadRoutes,
    () => bootstrap.workloadApi,
    identity,
    'control-plane',
  );
  const backend = await EmbeddedBackend.open(bootstrap.folder, Date.now);
  const broker = new SecretBroker({
    backend,
    sealingKey: await SealingKey.open(join(bootstrap.folder)),
    readStored: async (sequence) => await readStored(bus, sequence),
    bindings: async (session) => await controlPlane.call('secretBindings', { params: { session } }),
    call: callOut(systemResolve),
    onAsked: (asked) => report({ type: 'asked', ...asked }),
    now: Date.now,
  });
  return await serveRoutes(
    {
      routes: secretRoutes,
      identity,
      trustDomain,
      clientCertificate: 'required',
      connections,
      rate: new RequestRate('secretRate', limits.secretRate.value, Date.now),
      now: Date.now,
      handlers: {
        sealingKey: async () => ({ jwk: broker.publicJwk }),
        listSecrets: async () => [...(await broker.list())],
        putSecret: async ({ params, body }) => await broker.put(params.name, body.sealed),
        removeSecret: async ({ params }) => await broker.remove(params.name),
        readSecret: async ({ caller, body }) =>
          await reported(caller, 'readSecret', report, () =>
            broker.read(sessionOf(caller), body.secret, body.intentSeq, body.github),
          ),
        signRequest: async ({ caller, body }) =>
          await reported(caller, 'signRequest', report, () =>
            broker.sign(sessionOf(caller), body.secret, body.intentSeq, body.request),
          ),
      },
      onRefused: (caller, operation, error) => {
        report({
          type: 'refused',
          caller: caller.kind === 'workload' ? caller.identity.id : 'nobody',
          operation,
          code: error.code,
          detail: error.why,
        });
      },
      onError: (error, operation) => {
        // The name of an error only: its text may hold a piece of what was handled.
        process.stderr.write(`${operation}: ${error instanceof Error ? error.name : 'error'}\n`);
      },
    },
    bootstrap.port,
  );
}

async function reported<T>(
  caller: WorkloadCaller,
  operation: string,
  report: (message: BrokerReport) => void,
  answer: () => Promise<T>,
): Promise<T> {
  try {
    return await answer();
  } catch (error) {
    if (error instanceof GloveboxError)
      report({ type: 'refused', caller: caller.identity.id, operation, code: error.code, detail: error.why });
    throw error;
  }
}

function sessionOf(caller: WorkloadCaller) {
  if (caller.identity.kind === 'sidecar') return caller.identity.session;
  throw new GloveboxError('GB_CALLER_REFUSED', { operation: 'readSecret', allowed: 'sidecar' });
}
