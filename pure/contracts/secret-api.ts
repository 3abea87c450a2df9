import { z } from 'zod';
import { egressRule, githubNarrowing } from './policy.ts';
import { defineRoutes } from './route.ts';
import { secretKinds } from './secret-kinds.ts';

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
  kind: z.enum(secretKinds).default('text'),
  /** Of every kind but `text` a JSON document of that kind. */
  value: z.string().min(1).max(65536),
});
export type SealedContent = z.input<typeof sealedContent>;
export const sealing = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM' } as const;

/** One egress rule that puts a secret in: what the broker holds a request for that secret against. */
export const credentialUse = egressRule
  .pick({ host: true, port: true, methods: true, paths: true })
  .extend({ secret: secretName, carrier: z.string().max(200), github: githubNarrowing.optional() });
export type CredentialUse = z.infer<typeof credentialUse>;

/** A request as it will go out, but for its signature. */
export const toBeSigned = z.strictObject({
  service: z.string().regex(/^[a-z0-9-]{1,40}$/),
  region: z.string().regex(/^[a-z0-9-]{1,40}$/),
  method: z.string().regex(/^[A-Z]{3,10}$/),
  host: z.string().max(253),
  port: z.int().min(1).max(65535),
  /** Path and query. */
  target: z.string().max(16384).startsWith('/'),
  /** Those that the signature covers, lower case, without `host`. */
  headers: z.array(z.tuple([z.string().max(200), z.string().max(8192)])).max(100),
  /** The body's SHA-256 in hexadecimal, or one of the two words for a body that TLS alone protects. */
  payload: z.string().regex(/^([0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-UNSIGNED-PAYLOAD-TRAILER)$/),
});
export type ToBeSigned = z.infer<typeof toBeSigned>;
export const signedRequest = z.object({
  /** `authorization`, `x-amz-date` and whatever else the signature brings. */
  headers: z.record(z.string(), z.string()),
  /** Path and query as signed: exactly this has to go out. */
  target: z.string(),
});
export type SignedRequest = z.infer<typeof signedRequest>;

const nameParam = z.strictObject({ name: secretName });
export const listedSecret = z.object({
  name: z.string(),
  kind: z.enum(secretKinds).default('text'),
  updatedAt: z.string(),
});
const listed = listedSecret;
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
   * session, an intent, `allow`, not older than `secretIntentAge`, and name the secret in its `secret`. The value is what may go
   * into one request: of an `oauth` secret an access token, of a `github-app` an installation token for `github`, which has to be
   * what a rule of the session says. An `aws` secret has no such value.
   */
  readSecret: {
    method: 'POST',
    path: '/v1/read',
    callers: ['sidecar'],
    owner: 'self',
    body: z.strictObject({
      secret: secretName,
      intentSeq: z.int().min(1),
      github: githubNarrowing.optional(),
    }),
    response: z.object({ value: z.string() }),
  },
  /**
   * AWS Signature version 4 over one request, for one stored intent as above: the key stays, and only what a rule of the session
   * lets out with that secret is signed.
   */
  signRequest: {
    method: 'POST',
    path: '/v1/sign',
    callers: ['sidecar'],
    owner: 'self',
    body: z.strictObject({ secret: secretName, intentSeq: z.int().min(1), request: toBeSigned }),
    response: signedRequest,
  },
});
export type SecretRoutes = typeof secretRoutes;
