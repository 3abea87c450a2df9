import type { JSONWebKeySet } from 'jose';
import { z } from 'zod';
import {
  asSandboxId,
  asSessionId,
  asTrustDomain,
  auditSubject,
  controlSubject,
  eventsSubject,
  GloveboxError,
  providerSubject,
  Secret,
  secretRoutes,
  spiffeId,
  workloadRoutes,
  type ControlMessage,
  type SandboxId,
  type SessionId,
  type SidecarBootstrap,
  type SpiffeId,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import { BusConnection, isUndelivered, publishIntent } from '../bus/index.ts';
import type { EgressOptions } from '../egress/index.ts';
import { ConnectionRegistry, systemClock, type SvidSource } from '../identity/index.ts';
import { LinkGateway } from '../link-gateway/index.ts';
import { TokenVerifier } from '../tokens/index.ts';
import { joinWorkload, RouteClient } from '../workload-http/index.ts';
import { ControlInbox } from './control-inbox.ts';
import type { GrantUse } from './grants.ts';
import type { PrepareEngine } from './live-policy.ts';
import { engineOf } from './operations/engine-of.ts';
import type { ConsentOrder, ConsentReceipt } from './operations/permissions.ts';
import type { ProviderPort } from './operations/operations.ts';
import { ProviderCalls } from './operations/provider-calls.ts';
import { waitingProvider } from './operations/waiting-provider.ts';
import type { Runtime } from './runtime.ts';
import { SessionAuthority } from './session-authority.ts';

/** The longest session there may be, and a day. */
const authorityLifetimeMs = 31 * 86_400_000;

const keySet = z.object({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })) });

/** What a sidecar has before a run asks for it: identity, bus, keys to verify with, the session's own authority. */
export interface Warm {
  readonly session: SessionId;
  readonly sandbox: SandboxId;
  readonly self: SpiffeId;
  readonly trustDomain: TrustDomain;
  readonly authority: SessionAuthority;
  readonly prepareEngine: PrepareEngine;
  readonly verifier: TokenVerifier;
  readonly provider: ProviderPort;
  /** Ends what a provider was given and will not answer. */
  readonly providerGone: (domain: string) => void;
  readonly store: (record: Uint8Array) => Promise<number>;
  readonly emit: (event: object) => Promise<void>;
  readonly requestConsent: (order: ConsentOrder) => Promise<ConsentReceipt>;
  readonly consumeConsent: (token: string) => Promise<string>;
  readonly cancelConsent: (id: string) => Promise<boolean>;
  readonly useGrant: (use: GrantUse) => Promise<boolean>;
  readonly reportPolicyStatus: (generation: number) => Promise<void>;
  readonly readSecret: EgressOptions['readSecret'];
  readonly signRequest: EgressOptions['signRequest'];
  /** Where the sandbox's link comes in, if over a network. */
  readonly gateway: LinkGateway | null;
  /** Ends the link's connections of these certificates. */
  readonly revoke: (serials: readonly string[]) => void;
  /** Where verified words of the control plane go, from the first one on. */
  heed(handle: (message: ControlMessage) => void): void;
  close(): Promise<void>;
}

/** Everything that does not wait for another goes at once. `lost` is called when identity or bus is gone for good. */
export async function warmUp(
  bootstrap: SidecarBootstrap,
  runtime: Runtime,
  lost: (why: string) => void,
): Promise<Warm> {
  const session = asSessionId(bootstrap.sessionId);
  const sandbox = asSandboxId(bootstrap.sandboxId);
  const trustDomain = asTrustDomain(bootstrap.trustDomain);
  const self = spiffeId(trustDomain, { kind: 'sidecar', session });
  const verifier = new TokenVerifier(publicKeysOf(bootstrap));
  const [prepareEngine, authority, identity] = await Promise.all([
    engineOf(bootstrap.policyEngine),
    SessionAuthority.create(session, runtime.now(), authorityLifetimeMs),
    joinWorkload({ ...bootstrap, trustDomain, expectedId: self }),
  ]);
  const svid = identity.current();
  const bus = await BusConnection.connect({ address: bootstrap.bus, svid, identity: svid.identity });
  identity.onRotate((next) => {
    bus.rotate(next).catch((error: unknown) => {
      runtime.log(
        `the bus does not take the renewed certificate: ${error instanceof Error ? error.message : ''}`,
      );
    });
  });
  identity.onEnd((reason) => lost(reason.message));
  void bus.lost.then((error) => lost(error.message));

  const early: ControlMessage[] = [];
  let handle: (message: ControlMessage) => void = (message) => void early.push(message);
  const inbox = new ControlInbox({
    session,
    verify: (token) => verifier.verify('control', token),
    handle: (message) => handle(message),
  });
  await bus.subscribe(controlSubject(session), (message) => inbox.receive(message.data));

  const controlPlane = RouteClient.withIdentity(
    workloadRoutes,
    () => bootstrap.workloadApi,
    identity,
    'control-plane',
  );
  const broker = RouteClient.withIdentity(
    secretRoutes,
    () => bootstrap.secretBroker,
    identity,
    'secret-broker',
  );
  const calls = new ProviderCalls({
    request: async (domain, operation, payload) =>
      (await bus.request(providerSubject(domain, operation, session), payload)).data,
    undelivered: isUndelivered,
  });
  const connections = new ConnectionRegistry(systemClock);
  const gateway = await openGateway(bootstrap, identity, connections, controlPlane, runtime);
  return {
    session,
    sandbox,
    gateway,
    revoke: (serials) => connections.revoke(serials),
    self,
    trustDomain,
    authority,
    prepareEngine,
    verifier,
    provider: waitingProvider(calls, runtime),
    providerGone: (domain) => calls.gone(domain),
    store: async (record) =>
      (
        await publishIntent(bus, auditSubject(session, 'sidecar'), record, {
          newMessageId: () => runtime.newId(),
        })
      ).sequence,
    emit: (event) => bus.publish(eventsSubject(session), JSON.stringify(event)),
    requestConsent: (body) => controlPlane.call('requestConsent', { params: { session }, body }),
    consumeConsent: async (token) =>
      (await controlPlane.call('consumeConsent', { params: { session }, body: { token } })).grantId,
    cancelConsent: async (id) =>
      (await controlPlane.call('cancelConsent', { params: { session }, body: { id } })).cancelled,
    useGrant: async (body) => (await controlPlane.call('useGrant', { params: { session }, body })).used,
    reportPolicyStatus: async (generation) => {
      await controlPlane.call('reportPolicyStatus', { params: { session }, body: { generation } });
    },
    readSecret: async (secret, intentSeq, github) =>
      new Secret(
        (
          await broker.call('readSecret', {
            body: { secret, intentSeq, ...(github === undefined ? {} : { github }) },
          })
        ).value,
      ),
    signRequest: async (secret, intentSeq, request) =>
      await broker.call('signRequest', { body: { secret, intentSeq, request } }),
    heed(next) {
      handle = next;
      for (const message of early.splice(0)) next(message);
    },
    async close() {
      gateway?.close();
      identity.close();
      controlPlane.close();
      broker.close();
      await bus.abort();
    },
  };
}

async function openGateway(
  { gateway, sessionId, sandboxId }: SidecarBootstrap,
  identity: SvidSource,
  connections: ConnectionRegistry,
  controlPlane: RouteClient<typeof workloadRoutes>,
  runtime: Runtime,
): Promise<LinkGateway | null> {
  if (gateway === undefined) return null;
  const { trustDomain } = identity.current().identity;
  const session = asSessionId(sessionId);
  const params = { session };
  return await LinkGateway.listen({
    ...gateway,
    identity,
    trustDomain,
    sandbox: spiffeId(trustDomain, { kind: 'sandbox', session, sandbox: asSandboxId(sandboxId) }),
    connections,
    clock: systemClock,
    relay: {
      join: async (token, csr) =>
        (await controlPlane.call('joinSandbox', { params, body: { token, csr } })).chainPem,
      renew: async (serial, csr) =>
        (await controlPlane.call('renewSandbox', { params, body: { serial, csr } })).chainPem,
    },
    onRefused: (why) => runtime.log(`the gateway refused: ${why}`),
  });
}

function publicKeysOf(bootstrap: SidecarBootstrap): JSONWebKeySet {
  const parsed = keySet.safeParse(bootstrap.publicKeys);
  if (!parsed.success)
    throw new GloveboxError('GB_INTERNAL', { detail: 'the public keys are not a key set' });
  return parsed.data;
}
