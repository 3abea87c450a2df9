import { z } from 'zod';
import { defineRoutes } from './route.ts';

/**
 * What an API token may be for. There is no scope for answers, for secrets, for logins or for further tokens: those need a person
 * (R39), and a token is never more than the person who made it.
 */
export const tokenScopes = ['read', 'run', 'manage'] as const;
export type TokenScope = (typeof tokenScopes)[number];

export const apiTokenView = z.object({
  id: z.string(),
  name: z.string(),
  user: z.string(),
  scopes: z.array(z.enum(tokenScopes)),
  createdAt: z.string(),
  expiresAt: z.string(),
  state: z.enum(['good', 'revoked', 'expired']),
});
export type ApiTokenView = z.infer<typeof apiTokenView>;

const person = { callers: ['operator'], owner: 'none' } as const;

/** API tokens; part of the operator API. */
export const tokenRoutes = defineRoutes({
  /** The token is in this answer and nowhere else: what is kept is its digest. */
  createToken: {
    method: 'POST',
    path: '/v1/tokens',
    ...person,
    body: z.strictObject({
      name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'a name is lower-case letters, digits and dashes'),
      scopes: z.array(z.enum(tokenScopes)).min(1),
      expiresInSeconds: z.int().min(60),
    }),
    response: z.object({ token: z.string(), view: apiTokenView }),
  },
  listTokens: { method: 'GET', path: '/v1/tokens', ...person, response: z.array(apiTokenView) },
  revokeToken: {
    method: 'POST',
    path: '/v1/tokens/:id/revoke',
    ...person,
    params: z.strictObject({ id: z.string().min(1).max(64) }),
    response: apiTokenView,
  },
});

/**
 * The one operation of each route that a token's scope opens. What is not here is for a person's login alone, also a route that was
 * added and forgotten: `approveConsent`, `denyConsent`, `revokeGrant`, `attachSession`, `execSession`, `putSecret`, `createToken`,
 * `openBrowser`, `shutdown` and the like.
 */
export const tokenOperations: Readonly<Record<string, TokenScope>> = {
  health: 'read',
  host: 'read',
  listSessions: 'read',
  sessionUsage: 'read',
  getSession: 'read',
  getSandboxLogs: 'read',
  listSandboxPolicies: 'read',
  getSandboxPolicy: 'read',
  getSandboxPolicyStatus: 'read',
  listChanges: 'read',
  diffChanges: 'read',
  listHunks: 'read',
  events: 'read',
  listConsents: 'read',
  listGrants: 'read',
  explainGrant: 'read',
  audit: 'read',
  exportAudit: 'read',
  publicKeys: 'read',
  presets: 'read',
  openapi: 'read',
  createSession: 'run',
  pullImage: 'run',
  stopSession: 'run',
  updateSandboxPolicy: 'manage',
  applyChanges: 'manage',
  discardChanges: 'manage',
  discardPaths: 'manage',
};
