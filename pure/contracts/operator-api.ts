import { z } from 'zod';
import { authorityRoutes } from './authority-api.ts';
import { consentQuestion } from './consent.ts';
import { tokenRoutes } from './token-api.ts';
import { consentRoutes } from './consent-api.ts';
import { createSessionRequest, policyText, sessionView } from './session.ts';
import type { ErrorBody } from './errors.ts';
import { defineRoutes } from './route.ts';
import { listedSecret } from './secret-api.ts';

/** The operator API, on a Unix socket in a folder of mode 0700: who can connect is the person (R39). OpenAPI is made from this. */
const idParam = z.strictObject({ id: z.string().min(1).max(64) });
const change = z.object({
  path: z.string(),
  kind: z.enum(['added', 'modified', 'deleted', 'mode', 'type']),
  /** What the host's tools would execute or obey unasked; apply asks for these by name (R48). */
  sensitive: z.string().nullable(),
  conflict: z.string().nullable(),
  size: z.int(),
  binary: z.boolean(),
  mode: z.int().nullable(),
});
export type Change = z.infer<typeof change>;
export const guarantee = z.object({
  id: z.string(),
  title: z.string(),
  state: z.enum(['held', 'missing', 'waived', 'absent-ok']),
  detail: z.string(),
  todo: z.string().nullable(),
  waivable: z.boolean(),
});
export const hostReport = z.object({
  facts: z.record(z.string(), z.string()),
  guarantees: z.array(guarantee),
  fit: z.boolean(),
});
export type HostReport = z.infer<typeof hostReport>;
export type Guarantee = z.infer<typeof guarantee>;
export const operatorEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('session'), session: sessionView }),
  z.object({ type: z.literal('consent'), question: consentQuestion }),
  /** Text of the agent's own (progress, message): shown escaped and marked. */
  z.object({ type: z.literal('agent'), sessionId: z.string(), kind: z.string(), text: z.string() }),
  z.object({ type: z.literal('denied'), sessionId: z.string(), operation: z.string(), rule: z.string() }),
]);
export type OperatorEvent = z.infer<typeof operatorEvent>;

/** What of its policy a session was given, and what its sidecar reported to apply. */
export const policyStatus = z.object({
  sessionId: z.string(),
  name: z.string(),
  state: z.string(),
  /** The newest one that was written. */
  generation: z.int(),
  /** 0: its sidecar has reported none. */
  applied: z.int(),
});
export type PolicyStatus = z.infer<typeof policyStatus>;

/** What a running session uses of its tier. */
const sessionUse = z.object({
  id: z.string(),
  name: z.string(),
  tier: z.string(),
  command: z.array(z.string()),
  expiresAt: z.string(),
  /** When it was measured. */
  at: z.string(),
  used: z.object({
    /** Since its start. */
    cpuMs: z.number(),
    memoryBytes: z.number(),
    diskBytes: z.number(),
    processes: z.int(),
  }),
  allowed: z.object({ vcpu: z.number(), memoryBytes: z.number(), diskBytes: z.number() }),
});
export type SessionUse = z.infer<typeof sessionUse>;

/** What a pull says while it goes on; the last line is the image or the error. */
export const imageLine = z.union([
  z.object({ progress: z.string() }),
  z.object({ digest: z.string() }),
  z.object({ error: z.custom<ErrorBody['error']>() }),
]);
export type ImageLine = z.infer<typeof imageLine>;

const person = { callers: ['operator'], owner: 'none' } as const;
const personOfSession = { callers: ['operator'], owner: 'operator-session' } as const;

export const operatorRoutes = defineRoutes({
  health: {
    method: 'GET',
    path: '/v1/health',
    ...person,
    response: z.object({
      version: z.string(),
      pid: z.int(),
      startedAt: z.string(),
      /** Sidecars that wait for a run: with none, the next run waits for one. */
      warmSidecars: z.int(),
    }),
  },
  /** Prometheus' text format: docs/metrics.md. */
  metrics: { method: 'GET', path: '/v1/metrics', ...person, response: z.null() },
  host: { method: 'GET', path: '/v1/host', ...person, response: hostReport },
  waive: {
    method: 'POST',
    path: '/v1/host/waivers',
    ...person,
    body: z.strictObject({ name: z.enum(['apparmor', 'cgroup-limits']), waived: z.boolean() }),
    response: hostReport,
  },
  createSession: {
    method: 'POST',
    path: '/v1/sessions',
    ...person,
    body: createSessionRequest,
    response: sessionView,
  },
  /** Answered with JSON lines: `imageLine`. */
  pullImage: {
    method: 'POST',
    path: '/v1/images',
    ...person,
    body: z.strictObject({ reference: z.string().min(1).max(512) }),
    response: z.null(),
  },
  listSessions: {
    method: 'GET',
    path: '/v1/sessions',
    ...person,
    query: z.strictObject({ all: z.enum(['true', 'false']).optional() }),
    response: z.array(sessionView),
  },
  sessionUsage: { method: 'GET', path: '/v1/usage', ...person, response: z.array(sessionUse) },
  getSession: {
    method: 'GET',
    path: '/v1/sessions/:id',
    ...personOfSession,
    params: idParam,
    /** `ended`: answered once the session has ended, or when that takes too long. */
    query: z.strictObject({ ended: z.enum(['true', 'false']).optional() }),
    response: sessionView,
  },
  stopSession: {
    method: 'POST',
    path: '/v1/sessions/:id/stop',
    ...personOfSession,
    params: idParam,
    response: sessionView,
  },
  attachSession: {
    method: 'GET',
    path: '/v1/sessions/:id/attach',
    ...personOfSession,
    params: idParam,
    query: z.strictObject({
      foreground: z.enum(['true', 'false']).optional(),
      /** One that `execSession` named; without, the session's own command. */
      process: z.string().max(64).optional(),
    }),
    response: z.null(),
  },
  /** A further command in the session's sandbox, in a turn of its own; it starts when its caller attaches to it. */
  execSession: {
    method: 'POST',
    path: '/v1/sessions/:id/exec',
    ...personOfSession,
    params: idParam,
    body: z.strictObject({
      command: z.array(z.string().max(131072)).min(1).max(4096),
      terminal: createSessionRequest.shape.terminal,
      stdin: z.boolean().default(false),
    }),
    response: z.object({ process: z.string() }),
  },
  getSandboxLogs: {
    method: 'GET',
    path: '/v1/sessions/:id/logs',
    ...personOfSession,
    params: idParam,
    /** `follow`: as it comes, to the session's end. */
    query: z.strictObject({ follow: z.enum(['true', 'false']).optional() }),
    response: z.null(),
  },
  listSandboxPolicies: {
    method: 'GET',
    path: '/v1/policies',
    ...person,
    query: z.strictObject({ all: z.enum(['true', 'false']).optional() }),
    response: z.array(policyStatus),
  },
  getSandboxPolicy: {
    method: 'GET',
    path: '/v1/sessions/:id/policy',
    ...personOfSession,
    params: idParam,
    response: z.object({ generation: z.int(), document: z.record(z.string(), z.unknown()) }),
  },
  /** The next generation of a running session's policy; answered when its sidecar applies it. */
  updateSandboxPolicy: {
    method: 'PUT',
    path: '/v1/sessions/:id/policy',
    ...personOfSession,
    params: idParam,
    body: policyText,
    response: policyStatus,
  },
  getSandboxPolicyStatus: {
    method: 'GET',
    path: '/v1/sessions/:id/policy-status',
    ...personOfSession,
    params: idParam,
    response: policyStatus,
  },
  listChanges: {
    method: 'GET',
    path: '/v1/sessions/:id/changes',
    ...personOfSession,
    params: idParam,
    response: z.object({ state: z.string(), changes: z.array(change), truncated: z.boolean() }),
  },
  diffChanges: {
    method: 'GET',
    path: '/v1/sessions/:id/changes/diff',
    ...personOfSession,
    params: idParam,
    response: z.object({ diff: z.string() }),
  },
  /** The hunks of one modified text file, numbered; the digest is of what was compared. */
  listHunks: {
    method: 'GET',
    path: '/v1/sessions/:id/changes/hunks',
    ...personOfSession,
    params: idParam,
    query: z.strictObject({ path: z.string().max(4096).optional() }),
    response: z.object({
      path: z.string(),
      digest: z.string(),
      hunks: z.array(z.object({ number: z.int(), text: z.string() })),
    }),
  },
  applyChanges: {
    method: 'POST',
    path: '/v1/sessions/:id/changes/apply',
    ...personOfSession,
    params: idParam,
    body: z.strictObject({
      paths: z.array(z.string()).optional(),
      sensitive: z.array(z.string()).default([]),
      /** Files of which only some hunks are wanted, whatever `paths` says. */
      hunks: z
        .array(z.strictObject({ path: z.string(), digest: z.string(), take: z.array(z.int().min(1)).min(1) }))
        .default([]),
    }),
    response: z.object({
      applied: z.array(z.string()),
      skipped: z.array(z.object({ path: z.string(), why: z.string() })),
    }),
  },
  discardChanges: {
    method: 'POST',
    path: '/v1/sessions/:id/changes/discard',
    ...personOfSession,
    params: idParam,
    response: sessionView,
  },
  /** Single changes; the session keeps the rest. */
  discardPaths: {
    method: 'POST',
    path: '/v1/sessions/:id/changes/discard-paths',
    ...personOfSession,
    params: idParam,
    body: z.strictObject({ paths: z.array(z.string().min(1)).min(1) }),
    response: z.object({
      discarded: z.array(z.string()),
      skipped: z.array(z.object({ path: z.string(), why: z.string() })),
    }),
  },
  events: {
    method: 'GET',
    path: '/v1/events',
    ...person,
    query: z.strictObject({ session: z.string().optional() }),
    response: z.null(),
  },
  ...consentRoutes,
  ...tokenRoutes,
  sealingKey: {
    method: 'GET',
    path: '/v1/secrets/sealing-key',
    ...person,
    response: z.object({ jwk: z.record(z.string(), z.unknown()) }),
  },
  listSecrets: {
    method: 'GET',
    path: '/v1/secrets',
    ...person,
    response: z.array(listedSecret),
  },
  putSecret: {
    method: 'PUT',
    path: '/v1/secrets/:id',
    ...person,
    params: idParam,
    body: z.strictObject({ sealed: z.string().max(262144) }),
    response: listedSecret,
  },
  removeSecret: {
    method: 'DELETE',
    path: '/v1/secrets/:id',
    ...person,
    params: idParam,
    response: z.object({ name: z.string() }),
  },
  audit: {
    method: 'GET',
    path: '/v1/audit',
    ...person,
    query: z.strictObject({
      session: z.string().optional(),
      limit: z.coerce.number().int().min(1).max(10000).optional(),
      /** The records after this place in the trail, the oldest first; without, the newest ones. */
      after: z.coerce.number().int().min(0).optional(),
    }),
    response: z.array(z.record(z.string(), z.unknown())),
  },
  /** Takes the records before a time away, and leaves a tombstone under a signed checkpoint. */
  retainAudit: {
    method: 'POST',
    path: '/v1/audit/retain',
    ...person,
    body: z.strictObject({ before: z.iso.datetime({ precision: 3 }) }),
    response: z.object({ removed: z.int(), checkpoint: z.int() }),
  },
  /** JSON lines: records with their chain, and checkpoints; `glovebox audit verify` checks it offline. */
  exportAudit: {
    method: 'GET',
    path: '/v1/audit/export',
    ...person,
    query: z.strictObject({ session: z.string().optional() }),
    response: z.null(),
  },
  /** JWKS of the signer's public keys: what an export is verified with, kept apart from it (R41). */
  publicKeys: {
    method: 'GET',
    path: '/v1/keys',
    ...person,
    response: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }),
  },
  ...authorityRoutes,
  presets: {
    method: 'GET',
    path: '/v1/presets',
    ...person,
    response: z.array(z.object({ name: z.string(), title: z.string() })),
  },
  /** Opens the door for a browser where it is closed; the address holds a login token, good once and for a minute. */
  openBrowser: {
    method: 'POST',
    path: '/v1/browser',
    ...person,
    response: z.object({ url: z.string(), expiresAt: z.string() }),
  },
  /** Ends every login of a browser, and nothing listens any more. */
  closeBrowser: {
    method: 'DELETE',
    path: '/v1/browser',
    ...person,
    response: z.object({ closed: z.boolean() }),
  },
  openapi: { method: 'GET', path: '/openapi.json', ...person, response: z.record(z.string(), z.unknown()) },
  shutdown: {
    method: 'POST',
    path: '/v1/shutdown',
    ...person,
    response: z.object({ stopping: z.boolean() }),
  },
});
export type OperatorRoutes = typeof operatorRoutes;
