import type { FastifyInstance } from 'fastify';
import { limits, notForBrowsers, spiffeId } from '../../pure/contracts/index.ts';
import { compileCedar } from '../../pure/compile/index.ts';
import { createGvisorDriver, type GvisorSettings, type HostTools } from '../drivers/index.ts';
import { TokenVerifier } from '../signer/index.ts';
import { RequestRate, type RouteServer } from '../workload-http/index.ts';
import { imagesOf, type Images } from './images-of.ts';
import type { DaemonPlaces } from './arguments.ts';
import { auditReader } from './audit-reader.ts';
import { BrowserDoor } from './browser/browser-door.ts';
import { ApiTokens } from './people/api-tokens.ts';
import { GrantService } from './consents/grant-service.ts';
import { ConsentService } from './consents/consent-service.ts';
import { clock, layGround, trustDomain, type Ground } from './ground.ts';
import { HostFitness } from './host-fitness.ts';
import { errorFacts, type Log } from './log.ts';
import { serveAttach } from './operator/attach-upgrade.ts';
import { EventHub } from './operator/event-hub.ts';
import { operatorHandlers } from './operator/operator-handlers.ts';
import {
  listenOnSocket,
  openRuntimeFolder,
  personAtSocket,
  removeStaleSocket,
} from './operator/operator-socket.ts';
import { operatorServer, type OperatorServerOptions } from './operator/server.ts';
import type { HostProbe, WorkspaceChanges, WorkspaceGuard } from './ports.ts';
import type { Programs } from './programs.ts';
import { startBeside } from './providers/provider-host.ts';
import { sharedFolders } from './providers/shared-folders.ts';
import { randomIds } from './random-ids.ts';
import { onlyWhenFit, sandboxesOf } from './sandboxes.ts';
import { SecretKeeper } from './secret-keeper.ts';
import { secretRecords } from './secret-records.ts';
import type { Metrics } from './metrics.ts';
import { metricsOf } from './metrics-of.ts';
import { deniedEvent, relayAgentWords } from './session-events.ts';
import { ControlChannel } from './sessions/control-channel.ts';
import { revokedAtGateways } from './sessions/revoked-at-gateways.ts';
import { Presets } from './sessions/presets.ts';
import { recoverOthersNowAndThen } from './sessions/session-recovery.ts';
import { SessionService } from './sessions/session-service.ts';
import type { Launch } from './sidecars/launch.ts';
import { sidecarPool } from './sidecar-pool-of.ts';
import type { SidecarPool } from './sidecars/sidecar-pool.ts';
import { workloadHandlers } from './workload/workload-handlers.ts';
import type { SandboxDriver } from '../drivers/index.ts';

export interface DaemonOptions {
  readonly places: DaemonPlaces;
  readonly programs: Programs;
  readonly home: string;
  readonly log: Log;
  readonly launch: Launch;
  readonly changesOf: (driver: SandboxDriver, sessionsFolder: string) => WorkspaceChanges;
  readonly guardedPaths: (workspace: string, mode: 'staged' | 'direct') => Promise<WorkspaceGuard>;
  /** What is found also decides how sandboxes are started. */
  readonly probe: (tools: HostTools) => HostProbe & { readonly settings: GvisorSettings };
  /** For tests of renewal: shorter than the product's. */
  readonly certificateSeconds?: number;
  /** Called once when a person asks for the end. */
  readonly onShutdown: () => void;
}

export interface Daemon {
  readonly socket: string;
  /** Everything of it ends, in the opposite order of its start. Idempotent. */
  close(): Promise<void>;
}

/** The start, in the one order in which nothing is reachable before what it needs; the operator socket is last. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const undo: (() => unknown)[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      for (const step of undo.splice(0).reverse()) {
        try {
          await step();
        } catch (error) {
          options.log.error({ error: errorFacts(error) }, 'a step of the shutdown failed');
        }
      }
    })());
  try {
    return { socket: await start(options, undo), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(options: DaemonOptions, undo: (() => unknown)[]): Promise<string> {
  const { places, programs, log } = options;
  const startedAt = new Date(clock.now()).toISOString();
  const socket = await openRuntimeFolder(places.runtime);
  const probe = options.probe({
    runsc: places.tools.runsc,
    init: programs.init,
    folder: `${places.state}/sandboxes`,
  });
  const [presets, gvisor, ground] = await Promise.all([
    Presets.read(programs.presets),
    createGvisorDriver(probe.settings),
    layGround({ ...options, ...places, socket, natsServer: places.tools.natsServer }, undo),
  ]);
  const { note, audit, store, folder } = ground;
  const host = new HostFitness(probe, store.waivers, audit, clock);
  const driver = onlyWhenFit(gvisor, async () => await host.requireFit());
  // Registered before what uses it, so it ends after: disks made ahead are not left mounted.
  undo.push(async () => await gvisor.close());
  await removeStaleSocket(socket);
  const changes = options.changesOf(driver, folder.sessions);
  const events = new EventHub();
  ground.onRecord = (record) => {
    const denied = deniedEvent(record);
    if (denied !== null) events.publish(denied);
  };
  await relayAgentWords(
    ground.bus.connection,
    (event) => events.publish(event),
    clock,
    (error) => note('an event of an agent was dropped', error),
  );
  const images = await imagesOf(options.places, programs.imageUnpacker, options.home);
  const control = new ControlChannel({
    sessions: store.sessions,
    sign: async (message) => await ground.signer.signControl(message),
    publish: async (subject, payload) => await ground.bus.connection.publish(subject, payload),
    clock,
  });
  ground.authority.onRevoked(
    revokedAtGateways(store.identity, control, (session) => sessions.gatewayRevoked(session), note),
  );
  const consents = await consentService(ground, control, events);
  undo.push(() => consents.close());
  const grants = new GrantService({ store, control, audit, clock });
  const workloadApi = await ground.serveWorkloads(
    workloadHandlers({
      authority: ground.authority,
      sessions: store.sessions,
      consents,
      grants,
      policyApplied: async (session, generation) => await sessions.policyApplied(session, generation),
    }),
  );
  const [secrets] = await Promise.all([
    startSecrets(ground, programs, workloadApi),
    sandboxesOf(driver, folder.sessions, note).reap(),
  ]);
  undo.push(async () => await secrets.stop());
  const metrics = metricsOf(ground, programs.version, { sessions: () => sessions, pool: () => pool });
  const pool: SidecarPool = await sidecarPool(ground, options, workloadApi, secrets, metrics);
  undo.push(async () => await pool.close());
  ground.onBusRestart = () => pool.renew();
  const sessions: SessionService = new SessionService({
    store,
    narrow: async (session, leavesToPerson) => await consents.narrow(session, leavesToPerson),
    replica: ground.replica,
    pool,
    sandboxes: sandboxesOf(driver, folder.sessions, note),
    control,
    audit,
    changes,
    ids: randomIds,
    clock,
    places: { home: options.home, state: places.state, presets, images },
    cedarOf: (plan) => compileCedar(plan.compiled.tools),
    guardedPaths: options.guardedPaths,
    requireFit: async () => await host.requireFit(),
    waived: async () => await host.waived(),
    hasSecret: (name) => secrets.has(name),
    onChange: (view) => events.publish({ type: 'session', session: view }),
    release: async (session) => {
      await consents.endOf(session);
      await ground.revoke(spiffeId(trustDomain, { kind: 'sidecar', session }));
    },
    settleIntents: ground.settleIntents,
    onError: (error, doing) => note(`${doing} failed`, error),
  });
  undo.push(async () => await sessions.close());
  await consents.expireOverdue();
  const recovered = await sessions.recover();
  if (recovered > 0) note(`${recovered} sessions of a predecessor were ended; their changes are kept`);
  if (places.shared !== undefined) undo.push(recoverOthersNowAndThen(sessions, note));
  pool.fill();
  await startProviders(options, ground, driver, workloadApi, sessions, host, undo);
  // A probe takes a while: it is under way before the first run asks for it.
  host.report().catch((error: unknown) => note('the host could not be probed', error));
  await serveOperator(socket, undo, {
    options,
    ground,
    startedAt,
    sessions,
    pool,
    consents,
    grants,
    secrets,
    host,
    changes,
    presets,
    images,
    events,
    metrics,
  });
  log.info({ version: programs.version, pid: process.pid }, 'ready');
  return socket;
}

interface OperatorSide {
  readonly options: DaemonOptions;
  readonly ground: Ground;
  readonly startedAt: string;
  readonly sessions: SessionService;
  readonly pool: SidecarPool;
  readonly consents: ConsentService;
  readonly grants: GrantService;
  readonly secrets: SecretKeeper;
  readonly host: HostFitness;
  readonly changes: WorkspaceChanges;
  readonly presets: Presets;
  readonly images: Images;
  readonly events: EventHub;
  readonly metrics: Metrics;
}

async function serveOperator(socket: string, undo: (() => unknown)[], side: OperatorSide): Promise<void> {
  const { options, ground, sessions } = side;
  const rate = new RequestRate('operatorRate', limits.operatorRate.value, () => clock.now());
  const caller = personAtSocket();
  const tokens = new ApiTokens({
    store: ground.store.apiTokens,
    audit: ground.audit,
    clock,
    ids: randomIds,
  });
  const serve = async (apart: Pick<OperatorServerOptions, 'server' | 'without'>): Promise<FastifyInstance> =>
    await operatorServer({
      ...apart,
      handlers,
      findSession: async (text) => await sessions.find(text),
      caller,
      tokens,
      version: options.programs.version,
      rate,
      onError: (error, operation) => ground.note(`the operator API failed in ${operation}`, error),
    });
  const browser = new BrowserDoor({
    user: caller.user,
    serve: async (server) => await serve({ server, without: notForBrowsers }),
    refusals: new RequestRate('browserRefusals', limits.browserRefusals.value, () => clock.now()),
    record: (decision, rule, detail) => {
      ground.audit
        .record({
          session: 'system',
          operation: 'browser',
          decision,
          rule,
          detail,
          ...(decision === 'allow' ? { user: caller.user } : {}),
        })
        .catch((error: unknown) => ground.note('a request of a browser was not recorded', error));
    },
    now: () => clock.now(),
    requestTime: limits.browserRequestTime.value,
  });
  undo.push(async () => await browser.close());
  const handlers = operatorHandlers({
    ...side,
    tokens,
    version: options.programs.version,
    sessionsFolder: ground.folder.sessions,
    audit: ground.audit,
    auditReader: auditReader(ground),
    publicKeys: async () => await ground.signer.publicKeys(),
    browser,
    ca: ground.ca,
    revoke: async (identity) => await ground.revoke(identity),
    shutDown: options.onShutdown,
  });
  const app = await serve({});
  serveAttach(
    app.server,
    sessions,
    caller,
    () => rate.count(caller.user),
    (error) => ground.note('an attach failed', error),
  );
  await listenOnSocket(app, socket);
  undo.push(async () => await app.close());
}

async function consentService(
  ground: Ground,
  control: ControlChannel,
  events: EventHub,
): Promise<ConsentService> {
  const verifier = new TokenVerifier(await ground.signer.publicKeys());
  return new ConsentService({
    store: ground.store,
    control,
    audit: ground.audit,
    signConsent: async (claims) => await ground.signer.signConsent(claims),
    verifyConsent: async (token, expected) => await verifier.consent(token, expected, clock.now()),
    signerId: spiffeId(trustDomain, { kind: 'signer' }),
    sidecarId: (session) => spiffeId(trustDomain, { kind: 'sidecar', session }),
    onQuestion: (question) => events.publish({ type: 'consent', question }),
    onError: (error, doing) => ground.note(`${doing} failed`, error),
    clock,
    ids: randomIds,
  });
}

async function startSecrets(
  ground: Ground,
  programs: Programs,
  workloadApi: RouteServer,
): Promise<SecretKeeper> {
  return await SecretKeeper.start({
    entry: programs.secretBroker,
    folder: ground.folder.secrets,
    trustDomain,
    authority: ground.authority,
    identity: ground.identity,
    workloadApi: { host: workloadApi.host, port: workloadApi.port },
    bus: { host: ground.bus.host, port: ground.bus.port },
    ...secretRecords(ground.audit, ground.note),
    log: ground.note,
  });
}

/** Files for agents: the folders that the person chose, behind a provider in a sandbox of its own. */
async function startProviders(
  options: DaemonOptions,
  ground: Ground,
  driver: SandboxDriver,
  workloadApi: RouteServer,
  sessions: SessionService,
  host: HostFitness,
  undo: (() => unknown)[],
): Promise<void> {
  const { places, programs, home } = options;
  const folders = await sharedFolders({ ...places, home });
  if (folders.length === 0) return;
  undo.push(
    startBeside({
      domain: 'files',
      program: programs.providerFiles,
      forwarder: programs.providerForwarder,
      folder: `${places.state}/providers/files`,
      folders,
      driver,
      launch: options.launch,
      authority: ground.authority,
      trustDomain,
      get bundlePem() {
        return ground.identity.current().bundlePem;
      },
      workloadApi: { host: workloadApi.host, port: workloadApi.port },
      bus: { host: ground.bus.host, port: ground.bus.port },
      log: ground.note,
      fitnessChanged: async () => await host.changed(),
      onGone: (gone) => sessions.tellAll({ type: 'provider-gone', domain: gone }),
    }),
  );
}
