import { z } from 'zod';
import { defineRoutes } from './route.ts';

/**
 * The secret broker's API: HTTPS, TLS 1.3, a client certificate required, on 127.0.0.1. Values are opened in the broker's own
 * process; the control plane passes sealed ones through and can open none (R5).
 */
export const secretName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,63}$/, 'a secret name is lower-case letters, digits and dashes');

/**
 * What a person's CLI seals: a compact JWE (RFC 7516), `ECDH-ES+A256KW` with `A256GCM`, to the broker's key (`sealingKey`, an EC
 * P-256 JWK with its kid), of this as JSON. The name is inside: a value that was sealed for one name is good for no other.
 */
export const sealedContent = z.strictObject({
  name: secretName,
  value: z.string().min(1).max(65536),
});
export type SealedContent = z.infer<typeof sealedContent>;
export const sealing = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM' } as const;

const nameParam = z.strictObject({ name: secretName });
const listed = z.object({ name: z.string(), updatedAt: z.string() });
const operated = { callers: ['control-plane'], owner: 'none' } as const;

export const secretRoutes = defineRoutes({
  sealingKey: {
    method: 'GET',
    path: '/v1/sealing-key',
    ...operated,
    response: z.object({ jwk: z.record(z.string(), z.unknown()) }),
  },
  listSecrets: { method: 'GET', path: '/v1/secrets', ...operated, response: z.array(listed) },
  putSecret: {
    method: 'PUT',
    path: '/v1/secrets/:name',
    ...operated,
    params: nameParam,
    body: z.strictObject({ sealed: z.string().max(262144) }),
    response: listed,
  },
  removeSecret: {
    method: 'DELETE',
    path: '/v1/secrets/:name',
    ...operated,
    params: nameParam,
    response: z.object({ name: z.string() }),
  },
  /**
   * One read for one stored intent: `intentSeq` is its sequence in the audit stream. The record must be of the caller's own
   * session, an intent, `allow`, not older than `secretIntentAge`, and name the secret in its `secret`.
   */
  readSecret: {
    method: 'POST',
    path: '/v1/read',
    callers: ['sidecar'],
    owner: 'self',
    body: z.strictObject({ secret: secretName, intentSeq: z.int().min(1) }),
    response: z.object({ value: z.string() }),
  },
});
export type SecretRoutes = typeof secretRoutes;
