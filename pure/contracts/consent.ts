import { z } from 'zod';

/** What an agent asks through request_permission. Text of the agent's is data: it is rendered escaped and bounded. */
export const permissionRequest = z.strictObject({
  scope: z.string().min(3).max(300),
  reason: z.string().max(500).default(''),
  arguments: z.record(z.string(), z.unknown()).optional(),
});
export type PermissionRequest = z.infer<typeof permissionRequest>;

/** What the person is shown, exactly; `digest` is SHA-256 (hex) over `shownText` of pure/consent (R39). */
export const consentQuestion = z.object({
  id: z.string(),
  sessionId: z.string(),
  sessionName: z.string(),
  user: z.string(),
  turnId: z.string(),
  scope: z.string(),
  operation: z.string(),
  host: z.string().nullable(),
  argumentsText: z.string().max(4000),
  argsHash: z.string(),
  reason: z.string().max(2000),
  createdAt: z.string(),
  expiresAt: z.string(),
  digest: z.string(),
  state: z.enum(['pending', 'approved', 'denied', 'expired']),
  count: z.int().min(1),
});
export type ConsentQuestion = z.infer<typeof consentQuestion>;

export const consentMode = z.enum(['once', 'session']);
export type ConsentMode = z.infer<typeof consentMode>;

/** Claims of a consent token (R37): EdDSA, typ `glovebox-consent+jwt`, aud the sidecar's SPIFFE ID, sub the user, at most 5 minutes. */
export const consentClaims = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  sub: z.string(),
  session_id: z.string(),
  sandbox_id: z.string(),
  scope: z.string(),
  challenge_id: z.string(),
  args_hash: z.string(),
  turn_id: z.string(),
  mode: consentMode,
  digest: z.string(),
  jti: z.string(),
  iat: z.int(),
  exp: z.int(),
});
export type ConsentClaims = z.infer<typeof consentClaims>;

/** A grant as people see it. `state`: why it serves, or no longer does. */
export const grantView = z.object({
  id: z.string(),
  sessionId: z.string(),
  sessionName: z.string(),
  user: z.string(),
  scope: z.string(),
  mode: consentMode,
  state: z.enum(['open', 'used', 'revoked', 'expired']),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  usedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});
export type GrantView = z.infer<typeof grantView>;
