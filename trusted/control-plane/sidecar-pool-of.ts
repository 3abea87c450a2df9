import { dirname } from 'node:path';
import {
  limits,
  spiffeId,
  type SandboxId,
  type SessionId,
  type SidecarBootstrap,
} from '../../pure/contracts/index.ts';
import type { RouteServer } from '../workload-http/index.ts';
import type { DaemonOptions } from './daemon.ts';
import { trustDomain, type Ground } from './ground.ts';
import { policyEngine } from './policy-engine.ts';
import { randomIds } from './random-ids.ts';
import type { SecretKeeper } from './secret-keeper.ts';
import type { Metrics } from './metrics.ts';
import { SidecarPool } from './sidecars/sidecar-pool.ts';

/** Sidecars made ahead, each told where everything is that it speaks to, and which policy engine decides. */
export async function sidecarPool(
  ground: Ground,
  options: Pick<DaemonOptions, 'places' | 'programs' | 'launch' | 'log'>,
  workloadApi: RouteServer,
  secrets: Pick<SecretKeeper, 'address'>,
  metrics: Pick<Metrics, 'counted'>,
): Promise<SidecarPool> {
  const [publicKeys, engine] = await Promise.all([
    ground.signer.publicKeys(),
    policyEngine(options.places.config),
  ]);
  options.log.info({ engine: engine?.engine ?? 'cedar', socket: engine?.socket }, 'policy engine');
  const show = engine === undefined ? [] : [dirname(engine.socket)];
  return new SidecarPool({
    size: limits.warmSidecars.value,
    bundle: options.programs.sidecar,
    launch: (bundle, how) => options.launch(bundle, { ...how, show }),
    sessionsFolder: ground.folder.sessions,
    bootstrap: async (sessionId: SessionId, sandboxId: SandboxId): Promise<SidecarBootstrap> => ({
      type: 'bootstrap',
      sessionId,
      sandboxId,
      trustDomain,
      joinToken: await ground.authority.createJoinToken(
        spiffeId(trustDomain, { kind: 'sidecar', session: sessionId }),
      ),
      workloadApi: { host: workloadApi.host, port: workloadApi.port },
      bus: { host: ground.bus.host, port: ground.bus.port },
      secretBroker: { ...secrets.address },
      bundlePem: ground.identity.current().bundlePem,
      publicKeys,
      policyEngine: engine,
    }),
    ids: randomIds,
    onCounts: (counts) => metrics.counted(counts),
    onLine: (session, line) => options.log.info({ session, line }, 'sidecar'),
    onError: (error, doing) => ground.note(`${doing} failed`, error),
  });
}
