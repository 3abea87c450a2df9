import { limits } from '../../pure/contracts/index.ts';
import { auditStreamEnd } from '../bus/index.ts';
import type { Ground } from './ground.ts';
import { Metrics } from './metrics.ts';
import type { SessionService } from './sessions/session-service.ts';
import type { SidecarPool } from './sidecars/sidecar-pool.ts';

/** The numbers of this control plane. Its sessions and its pool are there by the time that somebody asks. */
export const metricsOf = (
  ground: Ground,
  version: string,
  parts: { readonly sessions: () => SessionService; readonly pool: () => SidecarPool },
): Metrics =>
  new Metrics({
    version,
    sessions: async () => (await parts.sessions().records(false)).map(({ state }) => state),
    warmSidecars: () => parts.pool().ready,
    streamEnd: async () => await auditStreamEnd(ground.bus.connection),
    trailEnd: async () => await ground.store.audit.lastSeq(),
    now: () => performance.now(),
    busWait: limits.metricsBusWait.value,
  });
