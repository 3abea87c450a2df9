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

/** What an installation token of a GitHub App is restricted to: both have to be named, and the token never has more. */
export const githubNarrowing = z.strictObject({
  /** Names without their owner: an installation belongs to one. */
  repositories: z
    .array(z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, 'a repository is named without its owner'))
    .min(1)
    .max(100),
  /** Such as `contents: read`, by GitHub's names. */
  permissions: z
    .record(z.string().regex(/^[a-z_]{1,64}$/), z.enum(['read', 'write', 'admin']))
    .refine((named) => Object.keys(named).length > 0, 'at least one permission is named'),
});
export type GitHubNarrowing = z.infer<typeof githubNarrowing>;
/** Equal text for what means the same. */
export const canonicalNarrowing = ({ repositories, permissions }: GitHubNarrowing): string =>
  JSON.stringify([
    [...new Set(repositories.map((name) => name.toLowerCase()))].sort(),
    Object.entries(permissions).sort(([one], [other]) => (one < other ? -1 : 1)),
  ]);

export const credentialRule = z
  .strictObject({
    secret: secretName,
    /**
     * How it is carried: `bearer` (Authorization: Bearer), `basic` (the secret is `user:password`), `basic:<user>` (it is the
     * password), `header:<name>`, `query:<key>`, `cookie:<name>`, `aws:<service>:<region>` (Signature version 4).
     */
    carrier: z
      .string()
      .regex(
        /^(bearer|basic(:[A-Za-z0-9._@+-]{1,64})?|header:[a-z0-9-]{1,64}|query:[A-Za-z0-9_.-]{1,64}|cookie:[A-Za-z0-9_.-]{1,64}|aws:[a-z0-9-]{1,40}:[a-z0-9-]{1,40})$/,
        'a carrier is bearer, basic, basic:<user>, header:<name>, query:<key>, cookie:<name> or aws:<service>:<region>',
      ),
    github: githubNarrowing.optional(),
  })
  .refine(({ carrier, github }) => github === undefined || !carrier.startsWith('aws:'), {
    path: ['github'],
    message: 'an app’s token is no AWS signature; leave out one of both',
  });

/** A number of bytes, such as 512KB or 20MB (powers of 1024). */
export const byteSize = z
  .string()
  .regex(/^[1-9][0-9]{0,5}(B|KB|MB|GB)$/, 'a size is a number and B, KB, MB or GB');
const textPattern = z.string().min(1).max(200);

/** Git over HTTP: the repository is named by the rule's paths, such as `/org/repo.git/**`. */
export const gitRule = z.strictObject({
  fetch: z.boolean().default(true),
  /** Full ref names that may be pushed to, such as `refs/heads/agent/**`. None: no push. */
  push: z
    .array(
      z
        .string()
        .max(200)
        .regex(/^refs\/[^\s\p{Cc}]*$/u, 'a ref starts with refs/'),
    )
    .default([]),
  /** Updates that are not shown to be fast-forward. */
  force: z.boolean().default(false),
  delete: z.boolean().default(false),
});

export const egressRule = z.strictObject({
  host: hostPattern,
  port: z.int().min(1).max(65535).default(443),
  methods: z
    .array(z.string().regex(/^[A-Z]{3,10}$/))
    .min(1)
    .default(['GET', 'HEAD', 'OPTIONS']),
  paths: z.array(z.string().max(300).startsWith('/')).min(1).default(['/**']),
  /** Query keys that a request may have, each at most once, and what their value may be (`*`: any run of characters). */
  query: z.record(z.string().regex(/^[A-Za-z0-9_.~-]{1,100}$/), textPattern).optional(),
  /** The largest body of a request. */
  maxBody: byteSize.optional(),
  /** Requests by this rule within any minute. */
  perMinute: z.int().min(1).max(100_000).optional(),
  /** Bytes by this rule, out and in, for the session's length. */
  budget: byteSize.optional(),
  git: gitRule.optional(),
  /** What a GraphQL request (a JSON body) may do. */
  graphql: z
    .strictObject({
      operations: z.array(z.enum(['query', 'mutation', 'subscription'])).min(1),
      fields: z.array(textPattern).default([]),
    })
    .optional(),
  /** Which methods a JSON-RPC body may call; `tools`: which tools MCP's `tools/call` may name. */
  jsonrpc: z
    .strictObject({ methods: z.array(textPattern).min(1), tools: z.array(textPattern).default([]) })
    .optional(),
  /** gRPC methods, such as `package.Service/Method` or `package.Service/*`; in place of `methods` and `paths`. */
  grpc: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z0-9_.]{1,150}\/([A-Za-z0-9_]{1,100}|\*)$/, 'a gRPC method is package.Service/Method'),
    )
    .min(1)
    .optional(),
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
  /** People's turns. `limit`: how long one is open, such as 30m. */
  turns: z
    .strictObject({
      limit: z
        .string()
        .regex(/^[1-9][0-9]{0,4}(s|m|h)$/, 'a duration is a number and s, m or h')
        .optional(),
      /** Grants for the session also where several people take part: their text stays in the agent's context. */
      sessionGrants: z.boolean().default(false),
    })
    .default({ sessionGrants: false }),
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
