import { z } from 'zod';
import { egressBuckets, egressDenials } from './metrics.ts';
import { egressRule } from './policy.ts';

/**
 * The inherited IPC channel between the control plane and a sidecar (one machine). What crosses a network on a cluster
 * (turns, consent) is signed and travels on the bus; only what is bound to this machine travels here.
 * Control plane → sidecar: `bootstrap` (once, at spawn), `activate` (once, with the sandbox's link as the handle), `attach`
 * (a handle: the operator's connection), `end`. Sidecar → control plane: the reports.
 */
/** A policy engine that is a server: Open Policy Agent, at a Unix socket, with a token of its own. */
export const engineChoice = z.strictObject({
  engine: z.literal('opa'),
  socket: z.string().max(107).startsWith('/'),
  token: z.string().min(32).max(512),
});
export type EngineChoice = z.infer<typeof engineChoice>;

export const sidecarBootstrap = z.strictObject({
  type: z.literal('bootstrap'),
  sessionId: z.string(),
  sandboxId: z.string(),
  trustDomain: z.string(),
  joinToken: z.string(),
  workloadApi: z.strictObject({ host: z.string(), port: z.int() }),
  bus: z.strictObject({ host: z.string(), port: z.int() }),
  secretBroker: z.strictObject({ host: z.string(), port: z.int() }),
  bundlePem: z.string(),
  /** Where its sandbox is to connect to, if the link comes over a network; otherwise `activate` brings it. */
  gateway: z.strictObject({ host: z.string(), port: z.int() }).optional(),
  /** Who decides on operations; without: Cedar, in the sidecar itself. */
  policyEngine: engineChoice.optional(),
  /** JWKS of the signer's public keys for consent and control. */
  publicKeys: z.unknown(),
});
export type SidecarBootstrap = z.infer<typeof sidecarBootstrap>;

/** The policy as compiled for the sidecar: Cedar text for operations, a table for egress. */
export const sidecarPolicy = z.strictObject({
  generation: z.int(),
  cedar: z.string(),
  egress: z.array(egressRule.extend({ id: z.string(), caPem: z.string().optional() })),
  tools: z.strictObject({ allow: z.array(z.string()), ask: z.array(z.string()) }),
  /** Secret name → the placeholder that stands for it inside the sandbox. */
  placeholders: z.record(z.string(), z.string()),
});
export type SidecarPolicy = z.infer<typeof sidecarPolicy>;

export const sidecarActivate = z.strictObject({
  type: z.literal('activate'),
  policy: sidecarPolicy,
  user: z.string(),
  sessionName: z.string(),
  outputLogFd: z.int().nullable(),
  command: z.strictObject({
    argv: z.array(z.string()).min(1),
    env: z.array(z.string()),
    cwd: z.string(),
    terminal: z.strictObject({ rows: z.int(), cols: z.int() }).nullable(),
  }),
  /** Files to write into the agent's home before the start are given to the driver; not here. */
  stdin: z.boolean(),
  waitForAttach: z.boolean(),
  expiresAt: z.string(),
});
export type SidecarActivate = z.infer<typeof sidecarActivate>;

/** A further command in the sandbox; it starts when a client attaches to it. */
export const sidecarExec = z.strictObject({
  type: z.literal('exec'),
  process: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  argv: z.array(z.string()).min(1),
  env: z.array(z.string()),
  cwd: z.string(),
  terminal: z.strictObject({ rows: z.int(), cols: z.int() }).nullable(),
  stdin: z.boolean(),
});
export type SidecarExec = z.infer<typeof sidecarExec>;

/** An operator's connection, as the handle, and who is at its other end. */
export const sidecarAttach = z.strictObject({
  type: z.literal('attach'),
  attachId: z.string(),
  user: z.string(),
  /** Whether what it sends reaches the command; without, it only looks. */
  input: z.boolean(),
  /** A foreground attachment gates output (backpressure). */ foreground: z.boolean(),
  /** A further command; without, the main one. */
  process: z.string().optional(),
});
export type SidecarAttach = z.infer<typeof sidecarAttach>;

export const sidecarCommand = z.discriminatedUnion('type', [
  sidecarBootstrap,
  sidecarActivate,
  sidecarExec,
  sidecarAttach,
  z.strictObject({ type: z.literal('end'), reason: z.string() }),
  z.strictObject({ type: z.literal('signal'), signal: z.int() }),
]);
export type SidecarCommand = z.infer<typeof sidecarCommand>;

const count = z.int().min(0).max(1_000_000_000);
/** What the egress proxy did since the last report: numbers, nothing that an agent can word. */
export const egressCounts = z.strictObject({
  requests: z.strictObject({ allow: count, ask: count, deny: count }),
  denials: z.partialRecord(z.enum(egressDenials), count),
  failures: count,
  sent: z.int().min(0),
  received: z.int().min(0),
  /** Requests that are over, in each bucket of `egressBuckets` and beyond, and their seconds in all. */
  seconds: z
    .array(z.strictObject({ count: z.int().min(0).max(1_000_000), sum: z.number().min(0) }))
    .length(egressBuckets.length + 1),
});
export type EgressCounts = z.infer<typeof egressCounts>;

export const sidecarReport = z.discriminatedUnion('type', [
  /** Identity, bus and session CA are there; `caPem` goes into the sandbox's trust store. */
  z.strictObject({ type: z.literal('warm'), caPem: z.string(), gatewayPort: z.int().optional() }),
  z.strictObject({ type: z.literal('started'), pid: z.int() }),
  z.strictObject({ type: z.literal('exited'), code: z.int().nullable(), signal: z.int().nullable() }),
  z.strictObject({
    type: z.literal('exec-exited'),
    process: z.string(),
    code: z.int().nullable(),
    signal: z.int().nullable(),
  }),
  /** Somebody types whose turn it is not: it is held until it is. */
  z.strictObject({ type: z.literal('input'), attachId: z.string() }),
  z.strictObject({ type: z.literal('attached'), count: z.int() }),
  z.strictObject({ type: z.literal('failed'), reason: z.string(), code: z.string(), detail: z.string() }),
  z.strictObject({ type: z.literal('handed'), attachId: z.string() }),
  z.strictObject({ type: z.literal('egress-counted'), counts: egressCounts }),
  /** An attachment is over: `orderly` when its client said so or the command had ended, else its connection was lost. */
  z.strictObject({
    type: z.literal('detached'),
    attachId: z.string(),
    foreground: z.boolean(),
    orderly: z.boolean(),
  }),
]);
export type SidecarReport = z.infer<typeof sidecarReport>;
