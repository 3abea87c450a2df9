import { join } from 'node:path';
import {
  defaultTrustDomain,
  GloveboxError,
  limits,
  spiffeId,
  workloadRoutes,
  type AuditRecord,
  type SpiffeId,
} from '../../pure/contracts/index.ts';
import { ElectedAuditWriter } from '../audit/index.ts';
import { ConnectionRegistry, IdentityAuthority, SvidSource, systemClock } from '../identity/index.ts';
import {
  auditWriterLease,
  lockState,
  openStateFolder,
  openStore,
  replicaLease,
  type StateFolder,
  type Store,
} from '../store/index.ts';
import { RequestRate, serveRoutes, type RouteServer, type WorkloadHandlers } from '../workload-http/index.ts';
import { auditTrail, intentSettler, type SettleIntents } from './audit-trail.ts';
import type { SharedParts } from './arguments.ts';
import { BusHost } from './bus-host.ts';
import { CaRotation } from './ca-rotation.ts';
import { errorFacts, type Log } from './log.ts';
import type { AuditTrail, Clock } from './ports.ts';
import type { Programs } from './programs.ts';
import { randomIds } from './random-ids.ts';
import { observed } from './session-events.ts';
import { startSigner, type SupervisedSigner } from './signing.ts';

export const trustDomain = defaultTrustDomain;
export const clock: Clock = { now: () => Date.now() };

/** What everything else stands on: the state folder, identities, the bus and the audit trail. */
export interface Ground {
  readonly folder: StateFolder;
  /** Whose sessions are its own. */
  readonly replica: string;
  readonly store: Store;
  readonly signer: SupervisedSigner;
  readonly authority: IdentityAuthority;
  readonly identity: SvidSource;
  readonly connections: ConnectionRegistry;
  readonly bus: BusHost;
  readonly audit: AuditTrail;
  readonly auditWriter: ElectedAuditWriter;
  /** Writes down what a session that is over left open. */
  readonly settleIntents: SettleIntents;
  /** Told of every record once it is in the store. */
  onRecord: (record: AuditRecord) => void;
  onBusRestart: () => void;
  readonly note: (message: string, error?: unknown) => void;
  /** Serves the workload API; its handlers need what is built upon this. */
  serveWorkloads(handlers: WorkloadHandlers<typeof workloadRoutes>): Promise<RouteServer>;
  readonly ca: CaRotation;
  /** Ends an identity everywhere (R4); how many certificates of it that were. */
  revoke(identity: SpiffeId): Promise<number>;
}

/** `undo` collects how each thing is ended; the caller runs it backwards, at the end or when a later step fails. */
export async function layGround(
  options: {
    readonly state: string;
    /** Where people will find this control plane. */
    readonly socket: string;
    readonly programs: Programs;
    readonly natsServer: string;
    readonly log: Log;
    /** With other replicas of the control plane. */
    readonly shared?: SharedParts | undefined;
    /** For tests of renewal: shorter than the product's. */
    readonly certificateSeconds?: number;
  },
  undo: (() => unknown)[],
): Promise<Ground> {
  const { programs, log, shared } = options;
  const note = (message: string, error?: unknown): void => {
    if (error === undefined) log.info(message);
    else log.error({ error: errorFacts(error) }, message);
  };
  const folder = await openStateFolder(options.state);
  const lock = lockState(folder.root, options.socket);
  undo.push(() => lock.release());
  const [store, signer] = await Promise.all([
    openStore(folder),
    startSigner({ entry: programs.signer, keysFolder: shared?.keys ?? folder.keys, trustDomain, log: note }),
  ]);
  undo.push(async () => await store.close());
  const replica = shared?.replica ?? folder.installation;
  await holdReplica(store, replica, folder.root);
  undo.push(async () => await signer.stop());
  const { certificateSeconds: ttlSeconds } = options;
  const authority = new IdentityAuthority({
    signer,
    store: store.identity,
    now: () => clock.now(),
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
  });
  const revoked = await authority.revokedSerials();
  const connections = new ConnectionRegistry(systemClock, revoked);
  signer.revoked(revoked);
  const id = spiffeId(trustDomain, { kind: 'control-plane', replica: shared?.replica ?? 'local' });
  const own = async (csr: string) => await authority.issueOwn(id, csr);
  const identity = await SvidSource.start({ issue: own, renew: own, expectedId: id });
  undo.push(() => identity.close());
  const ground = {
    onRecord: (_record: AuditRecord): void => undefined,
    onBusRestart: (): void => undefined,
  };
  const bus = await BusHost.start({
    natsServer: options.natsServer,
    folder: folder.nats,
    jail: join(options.state, 'jail'),
    shared: shared?.bus,
    trustDomain,
    authority,
    controlPlane: identity,
    keys: await signer.busKeys(),
    authorizer: signer.busAuthorizer,
    onRestart: () => ground.onBusRestart(),
    log: note,
  });
  undo.push(async () => await bus.stop());
  authority.onRevoked((serials) => {
    signer.revoked(serials);
    connections.revoke(serials);
    void endOnBus(serials, store, bus).catch((error: unknown) =>
      note('a revocation did not reach the bus', error),
    );
  });
  const unlisten = store.replicas.onRevocation(() => {
    authority.readRevocations().catch((error: unknown) => note('revocations were not read', error));
  });
  undo.push(unlisten);
  const audit = auditTrail(bus.connection, clock, randomIds);
  const ca = new CaRotation({
    signer,
    trustDomain,
    certificateLifetimeMs: ttlSeconds === undefined ? limits.certificateLifetime.value : ttlSeconds * 1000,
    audit,
    clock: systemClock,
    onError: (error, doing) => note(`${doing} failed`, error),
  });
  await ca.resume();
  undo.push(() => ca.close());
  const auditWriter = await ElectedAuditWriter.start({
    takeLease: async () => await store.replicas.tryTake(auditWriterLease),
    bus: bus.connection,
    store: observed(store.audit, (record) => ground.onRecord(record)),
    signCheckpoint: async (payload) => await signer.signCheckpoint(payload),
    now: () => new Date(clock.now()),
    onError: (error) => note('the audit writer failed', error),
    onSecurityEvent: (event) => log.warn({ event }, 'the audit stream holds what nobody should have written'),
  });
  undo.push(async () => await auditWriter.stop());
  const housekeeping = setInterval(() => {
    authority.forgetEnded().catch((error: unknown) => note('housekeeping failed', error));
  }, limits.certificateLifetime.value);
  housekeeping.unref();
  undo.push(() => clearInterval(housekeeping));
  const rate = new RequestRate('workloadRate', limits.workloadRate.value, () => clock.now());
  return Object.assign(ground, {
    folder,
    replica,
    store,
    signer,
    authority,
    identity,
    connections,
    bus,
    audit,
    auditWriter,
    settleIntents: intentSettler(bus.connection, clock, randomIds, auditWriter, store.audit),
    note,
    serveWorkloads: async (handlers: WorkloadHandlers<typeof workloadRoutes>) => {
      const server = await serveRoutes(
        {
          routes: workloadRoutes,
          handlers,
          identity,
          trustDomain,
          clientCertificate: 'requested',
          connections,
          rate,
          now: () => clock.now(),
          onRefused: (caller, operation, error) => {
            audit
              .record({
                session: 'system',
                operation: `workload.${operation}`,
                decision: 'deny',
                rule: error.code,
                detail: `${caller.kind === 'workload' ? caller.identity.id : 'anonymous'}: ${error.what}`,
              })
              .catch((failure: unknown) => note('a refusal was not recorded', failure));
          },
          onError: (error, operation) => note(`the workload API failed in ${operation}`, error),
        },
        0,
      );
      undo.push(async () => await server.close());
      return server;
    },
    // Who listens to revocations ends its connections, on the bus too.
    ca,
    revoke: async (spiffe: SpiffeId) => (await authority.revoke(spiffe)).length,
  } satisfies Omit<Ground, 'onRecord' | 'onBusRestart'>);
}

/**
 * While it is held no other replica ends this one's sessions. On one machine nobody else is there, and who lost it with the
 * connection takes it again.
 */
async function holdReplica(store: Store, replica: string, path: string): Promise<void> {
  const name = replicaLease(replica);
  // The server may not have noticed yet that a predecessor is gone.
  const deadline = performance.now() + limits.storeConnect.value;
  let lease = await store.replicas.tryTake(name);
  while (lease === undefined && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    lease = await store.replicas.tryTake(name);
  }
  if (lease === undefined) throw new GloveboxError('GB_ALREADY_RUNNING', { pid: 'unknown', path });
  const again = (): void => {
    const timer = setTimeout(() => {
      store.replicas
        .tryTake(name)
        .then(
          (held) =>
            held === undefined ? again() : held.lost.addEventListener('abort', again, { once: true }),
          again,
        );
    }, limits.storeLeaseRetry.value);
    timer.unref();
  };
  lease.lost.addEventListener('abort', again, { once: true });
}

/** The bus knows identities, a revocation speaks of serials. */
async function endOnBus(serials: readonly string[], store: Store, bus: BusHost): Promise<void> {
  const found = await Promise.all(serials.map(async (serial) => await store.identity.findSerial(serial)));
  for (const id of new Set(found.flatMap((one) => (one === undefined ? [] : [one.spiffeId]))))
    await bus.kick(id);
}
