export { catalogued } from './catalogued.ts';
export { callerKind, callerName, guard, type PeerCaller } from './guard.ts';
export type { WorkloadCall, WorkloadHandlers } from './handlers.ts';
export { refuseMalformed } from './malformed.ts';
export { foreignSession, namedSessions, type NamedParts } from './named-sessions.ts';
export { RequestRate } from './request-rate.ts';
export { RouteClient, type RouteAddress, type RouteInput } from './route-client.ts';
export { serveRoutes, type RouteServer, type RouteServerOptions } from './route-server.ts';
export { joinWorkload, type JoinOptions } from './workload-identity.ts';
