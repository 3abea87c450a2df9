import { z } from 'zod';
import { tierNames } from './tiers.ts';

/**
 * The policy document, as a person writes it. Defaults deny: what is not listed does not exist.
 * Scopes are `domain:operation:/path` (see scopes.ts); `**` any depth, `*` one segment.
 */
const scopePattern = z
  .string()
  .max(300)
  .regex(
    /^[a-z][a-z0-9-]*:[a-z*][a-z0-9-]*(:[^\s\p{Cc}\p{Cf}]*)?$/u,
    'a scope is domain:operation:/path, such as files:read:/shared/**',
  );
const secretName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,63}$/, 'a secret name is lower-case letters, digits and dashes');
export const hostPattern = z
  .string()
  .max(253)
  .regex(
    /^(\*\*?\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'a host is lower case, without port or scheme; *.example.com is one label, **.example.com any depth (neither is the apex)',
  );

export const credentialRule = z.strictObject({
  secret: secretName,
  /** How it is carried: `bearer` (Authorization: Bearer), `header:<name>`. */
  carrier: z.string().regex(/^(bearer|header:[a-z0-9-]{1,64})$/, 'a carrier is bearer or header:<name>'),
});

export const egressRule = z.strictObject({
  host: hostPattern,
  port: z.int().min(1).max(65535).default(443),
  methods: z
    .array(z.string().regex(/^[A-Z]{3,10}$/))
    .min(1)
    .default(['GET', 'HEAD', 'OPTIONS']),
  paths: z.array(z.string().max(300).startsWith('/')).min(1).default(['/**']),
  decision: z.enum(['allow', 'ask']).default('allow'),
  credential: credentialRule.optional(),
  /** Requests that carry credentials of the agent's own (Authorization, Cookie, …) are refused unless this is true. */
  ownCredentials: z.boolean().default(false),
  /** Plain HTTP; never with a credential. */
  plaintext: z.boolean().default(false),
  /** Private address ranges (CIDR) that this host may resolve to. Empty: none. */
  privateRanges: z.array(z.string().max(50)).default([]),
  /** PEM file of a private certificate authority for this upstream, read by the control plane. */
  caFile: z.string().max(4096).optional(),
});

export const policyDocument = z.strictObject({
  version: z.literal(1),
  tier: z.enum(tierNames as [string, ...string[]]).default('standard'),
  /** How long a session may last, such as 30m or 8h. */
  ttl: z
    .string()
    .regex(/^[1-9][0-9]{0,4}(s|m|h)$/, 'a duration is a number and s, m or h')
    .default('8h'),
  workspace: z
    .strictObject({
      mode: z.enum(['staged', 'direct']).default('staged'),
      show: z.array(z.string().min(1).max(300)).default([]),
    })
    .default({ mode: 'staged', show: [] }),
  tools: z
    .strictObject({ allow: z.array(scopePattern).default([]), ask: z.array(scopePattern).default([]) })
    .default({ allow: [], ask: [] }),
  egress: z.array(egressRule).max(500).default([]),
  /** Variables of the agent's environment; a placeholder names a secret whose value never enters the sandbox. */
  env: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/),
      z.union([z.string().max(4096), z.strictObject({ placeholder: secretName })]),
    )
    .default({}),
  /** Read-only tool folders of the person's home, such as ~/.nvm; never one that holds credentials. */
  toolFolders: z.array(z.string().min(1).max(4096)).max(20).default([]),
});
export type PolicyDocument = z.infer<typeof policyDocument>;
export type EgressRule = z.infer<typeof egressRule>;
export type CredentialRule = z.infer<typeof credentialRule>;

/** A preset: one file of data in presets/. */
export const presetDocument = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  title: z.string().max(100),
  /** The program, found on the person's PATH at the start; the person's arguments follow. */
  command: z.array(z.string()).min(1),
  /** Arguments added right after the program, to announce the MCP endpoint and such. `{mcp_url}` is filled in. */
  arguments: z.array(z.string()).default([]),
  /** Files written into the agent's home before the start: relative path → text; `{mcp_url}` and `{placeholder:<secret>}` are filled in. */
  homeFiles: z
    .record(z.string().regex(/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/), z.string().max(65536))
    .default({}),
  /** What the credential is and how to set it, for a friendly message when it is missing. */
  secret: z.strictObject({ name: secretName, title: z.string().max(100) }).optional(),
  policy: policyDocument,
});
export type PresetDocument = z.infer<typeof presetDocument>;
