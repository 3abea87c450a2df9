import { z } from 'zod';
import { endReasons, sessionStates } from './session-end.ts';
import { tierNames } from './tiers.ts';

/** `none`: nothing staged (or direct); `kept`: waiting for a decision. */
export const changeStates = ['none', 'kept', 'applied', 'discarded'] as const;
export type ChangeState = (typeof changeStates)[number];

export const sessionName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'a name is lower-case letters, digits and dashes');

/** The text of a policy document and the name to show in its errors. */
export const policyText = z.strictObject({ text: z.string().max(262144), file: z.string().max(4096) });

export const createSessionRequest = z.strictObject({
  command: z.array(z.string().max(131072)).max(4096),
  workspace: z.string().min(1).max(4096),
  name: sessionName.optional(),
  preset: z.string().max(32).optional(),
  /** The digest of an image that was pulled: it takes the place of the host's view. */
  image: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'an image is named by its digest here')
    .optional(),
  /** The text of a policy document and the name to show in its errors. Replaces the preset's policy. */
  policy: policyText.optional(),
  tier: z.enum(tierNames as [string, ...string[]]).optional(),
  ttlSeconds: z
    .int()
    .min(1)
    .max(30 * 86400)
    .optional(),
  /** `K=V`; the CLI has already refused what looks like a key. `K=secret:NAME` is a placeholder. */
  env: z.record(z.string().max(64), z.string().max(131072)).default({}),
  terminal: z
    .strictObject({
      rows: z.int().min(1).max(1000),
      cols: z.int().min(1).max(1000),
      term: z
        .string()
        .max(64)
        .regex(/^[A-Za-z0-9._+-]*$/),
    })
    .nullable()
    .default(null),
  stdin: z.boolean().default(false),
  detach: z.boolean().default(false),
  /** The PATH of the person's shell, to find the command and its tool folders. */
  path: z.string().max(32768).default('/usr/local/bin:/usr/bin:/bin'),
});
export type CreateSessionRequest = z.infer<typeof createSessionRequest>;

export const sessionView = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(sessionStates),
  reason: z.enum(endReasons).nullable(),
  exitCode: z.int().nullable(),
  exitSignal: z.int().nullable(),
  command: z.array(z.string()),
  workspace: z.string(),
  workspaceMode: z.enum(['staged', 'direct']),
  changes: z.enum(changeStates),
  tier: z.string(),
  user: z.string(),
  preset: z.string().nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  expiresAt: z.string(),
  /** What this host does not enforce for this session, in words; empty when all is. */
  weakened: z.array(z.string()),
  terminal: z.boolean(),
  attached: z.int(),
  detail: z.string().nullable(),
  limits: z.array(z.object({ limit: z.string(), value: z.string(), enforcedBy: z.string().nullable() })),
});
export type SessionView = z.infer<typeof sessionView>;
