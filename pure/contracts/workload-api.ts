import { z } from 'zod';
import { permissionRequest } from './consent.ts';
import { defineRoutes } from './route.ts';
import { credentialUse } from './secret-api.ts';

/** The workload API: HTTPS, TLS 1.3, on 127.0.0.1. The caller is the peer's certificate; `session` in a path is only compared with it (R2). */
const sessionParam = z.strictObject({ session: z.string().max(64) });
const svid = z.object({ chainPem: z.string(), bundlePem: z.string(), notAfter: z.string() });
const ownSession = { callers: ['sidecar'], owner: 'caller-session' } as const;

export const workloadRoutes = defineRoutes({
  join: {
    method: 'POST',
    path: '/v1/identity/join',
    callers: ['anonymous'],
    owner: 'self',
    body: z.strictObject({ token: z.string().max(200), csr: z.string().max(8192) }),
    response: svid,
  },
  renew: {
    method: 'POST',
    path: '/v1/identity/renew',
    callers: ['sidecar', 'provider', 'secret-broker', 'control-plane'],
    owner: 'self',
    body: z.strictObject({ csr: z.string().max(8192) }),
    response: svid,
  },
  /** A sandbox whose link is a network connection joins and renews through its own sidecar, its one peer. */
  joinSandbox: {
    method: 'POST',
    path: '/v1/sessions/:session/sandbox/join',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({ token: z.string().max(200), csr: z.string().max(8192) }),
    response: svid,
  },
  renewSandbox: {
    method: 'POST',
    path: '/v1/sessions/:session/sandbox/renew',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({ serial: z.string().regex(/^[0-9a-f]{1,64}$/), csr: z.string().max(8192) }),
    response: svid,
  },
  getSandboxPolicy: {
    method: 'GET',
    path: '/v1/sessions/:session/policy',
    ...ownSession,
    params: sessionParam,
    response: z.object({ generation: z.int(), document: z.record(z.string(), z.unknown()) }),
  },
  getSandboxProviderEnvironment: {
    method: 'GET',
    path: '/v1/sessions/:session/provider-environment',
    ...ownSession,
    params: sessionParam,
    response: z.object({ references: z.record(z.string(), z.string()) }),
  },
  reportPolicyStatus: {
    method: 'POST',
    path: '/v1/sessions/:session/policy-status',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({ generation: z.int().min(0) }),
    response: z.object({ accepted: z.boolean() }),
  },
  /** Asks a person. Answers when stored; the person's answer comes as a signed control message. */
  requestConsent: {
    method: 'POST',
    path: '/v1/sessions/:session/consents',
    ...ownSession,
    params: sessionParam,
    body: permissionRequest.extend({
      turnId: z.string(),
      operation: z.string().max(200),
      host: z.string().max(253).nullable(),
      argsHash: z.string(),
      argumentsText: z.string().max(4000),
    }),
    /** `digest` is that of what the person is shown; the token has to carry the same. */
    response: z.object({ id: z.string(), expiresAt: z.string(), digest: z.string() }),
  },
  /** The agent takes its question back: nobody is asked any more. */
  cancelConsent: {
    method: 'POST',
    path: '/v1/sessions/:session/consents/cancel',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({ id: z.string().max(64) }),
    response: z.object({ cancelled: z.boolean() }),
  },
  /** Consumes a consent token's jti atomically; the second use is GB_TOKEN_REPLAYED, also after a restart (R6). */
  consumeConsent: {
    method: 'POST',
    path: '/v1/sessions/:session/consents/consume',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({ token: z.string().max(8192) }),
    response: z.object({ grantId: z.string() }),
  },
  /** One use of a grant, by one operation: a once-grant is used up in the store, whoever asks first (R37). */
  useGrant: {
    method: 'POST',
    path: '/v1/sessions/:session/grants/use',
    ...ownSession,
    params: sessionParam,
    body: z.strictObject({
      grantId: z.string().max(64),
      /** The turn that the operation was stamped with, which may have ended meanwhile. */
      turnId: z.string().max(64),
      scope: z.string().max(4096),
      argsHash: z.string().max(64),
    }),
    response: z.object({ used: z.boolean() }),
  },
  /** A session's secrets and what its rules use them for, for the secret broker. */
  secretBindings: {
    method: 'GET',
    path: '/v1/sessions/:session/secret-bindings',
    callers: ['secret-broker'],
    owner: 'none',
    params: sessionParam,
    response: z.object({ secrets: z.array(z.string()), uses: z.array(credentialUse) }),
  },
});
export type WorkloadRoutes = typeof workloadRoutes;
