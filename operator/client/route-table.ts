import type { OperatorRoutes } from '../../pure/contracts/index.ts';

export type RouteName = keyof OperatorRoutes;

type RouteTable = {
  readonly [K in RouteName]: {
    readonly method: OperatorRoutes[K]['method'];
    readonly path: OperatorRoutes[K]['path'];
  };
};

/**
 * Method and path of each operation, apart from the registry's schemas: loading those would cost every command the start of the
 * schema library. The type is the registry's own, so that a route that is missing or differs here does not compile.
 */
export const routeTable: RouteTable = {
  health: { method: 'GET', path: '/v1/health' },
  metrics: { method: 'GET', path: '/v1/metrics' },
  host: { method: 'GET', path: '/v1/host' },
  waive: { method: 'POST', path: '/v1/host/waivers' },
  createSession: { method: 'POST', path: '/v1/sessions' },
  pullImage: { method: 'POST', path: '/v1/images' },
  listSessions: { method: 'GET', path: '/v1/sessions' },
  sessionUsage: { method: 'GET', path: '/v1/usage' },
  getSession: { method: 'GET', path: '/v1/sessions/:id' },
  stopSession: { method: 'POST', path: '/v1/sessions/:id/stop' },
  attachSession: { method: 'GET', path: '/v1/sessions/:id/attach' },
  execSession: { method: 'POST', path: '/v1/sessions/:id/exec' },
  getSandboxLogs: { method: 'GET', path: '/v1/sessions/:id/logs' },
  listSandboxPolicies: { method: 'GET', path: '/v1/policies' },
  getSandboxPolicy: { method: 'GET', path: '/v1/sessions/:id/policy' },
  updateSandboxPolicy: { method: 'PUT', path: '/v1/sessions/:id/policy' },
  getSandboxPolicyStatus: { method: 'GET', path: '/v1/sessions/:id/policy-status' },
  listChanges: { method: 'GET', path: '/v1/sessions/:id/changes' },
  diffChanges: { method: 'GET', path: '/v1/sessions/:id/changes/diff' },
  listHunks: { method: 'GET', path: '/v1/sessions/:id/changes/hunks' },
  applyChanges: { method: 'POST', path: '/v1/sessions/:id/changes/apply' },
  discardChanges: { method: 'POST', path: '/v1/sessions/:id/changes/discard' },
  discardPaths: { method: 'POST', path: '/v1/sessions/:id/changes/discard-paths' },
  events: { method: 'GET', path: '/v1/events' },
  listConsents: { method: 'GET', path: '/v1/consents' },
  approveConsent: { method: 'POST', path: '/v1/consents/:id/approve' },
  denyConsent: { method: 'POST', path: '/v1/consents/:id/deny' },
  listGrants: { method: 'GET', path: '/v1/grants' },
  explainGrant: { method: 'GET', path: '/v1/grants/:id' },
  revokeGrant: { method: 'POST', path: '/v1/grants/:id/revoke' },
  createToken: { method: 'POST', path: '/v1/tokens' },
  listTokens: { method: 'GET', path: '/v1/tokens' },
  revokeToken: { method: 'POST', path: '/v1/tokens/:id/revoke' },
  sealingKey: { method: 'GET', path: '/v1/secrets/sealing-key' },
  listSecrets: { method: 'GET', path: '/v1/secrets' },
  putSecret: { method: 'PUT', path: '/v1/secrets/:id' },
  removeSecret: { method: 'DELETE', path: '/v1/secrets/:id' },
  audit: { method: 'GET', path: '/v1/audit' },
  retainAudit: { method: 'POST', path: '/v1/audit/retain' },
  exportAudit: { method: 'GET', path: '/v1/audit/export' },
  publicKeys: { method: 'GET', path: '/v1/keys' },
  getAuthority: { method: 'GET', path: '/v1/ca' },
  rotateAuthority: { method: 'POST', path: '/v1/ca/rotate' },
  revokeIdentity: { method: 'POST', path: '/v1/ca/revoke' },
  presets: { method: 'GET', path: '/v1/presets' },
  openBrowser: { method: 'POST', path: '/v1/browser' },
  closeBrowser: { method: 'DELETE', path: '/v1/browser' },
  openapi: { method: 'GET', path: '/openapi.json' },
  shutdown: { method: 'POST', path: '/v1/shutdown' },
};
