import { z } from 'zod';

/** The tools of each provider domain: input schema, and how arguments become the scope that policy and consent speak of. */
export interface ToolDefinition {
  readonly domain: string;
  readonly operation: string;
  readonly description: string;
  readonly input: z.ZodType<Record<string, unknown>>;
  /** True when a call has an effect outside the sandbox. Every call is audited before it is carried out either way. */
  readonly effect: boolean;
  /** The verb of the scope: reading and writing are different scopes. */
  readonly scopeVerb: 'read' | 'write';
  readonly scopePath: (args: Record<string, unknown>) => string;
}

/** Absolute, normalised, `/<folder>/…`: no empty, `.` or `..` segments, no backslash, no control or format characters. */
export const toolPath = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^\/[^\\\p{Cc}\p{Cf}]*$/u, 'a path starts with / and has no control characters or backslashes')
  .refine(
    (p) =>
      p === '/' ||
      p
        .slice(1)
        .replace(/\/$/, '')
        .split('/')
        .every((s) => s !== '' && s !== '.' && s !== '..'),
    'a path has no empty, . or .. segments',
  )
  .transform((p) => (p.length > 1 && p.endsWith('/') ? p.slice(0, -1) : p).normalize('NFC'));

const pathOf = (args: Record<string, unknown>): string =>
  typeof args['path'] === 'string' ? args['path'] : '/';

export const filesTools: readonly ToolDefinition[] = [
  {
    domain: 'files',
    operation: 'list',
    description: 'List a folder that the person chose to share. `/` lists the shared folders.',
    input: z.strictObject({ path: toolPath }),
    effect: false,
    scopeVerb: 'read',
    scopePath: pathOf,
  },
  {
    domain: 'files',
    operation: 'read',
    description: 'Read a text file of a shared folder.',
    input: z.strictObject({ path: toolPath }),
    effect: false,
    scopeVerb: 'read',
    scopePath: pathOf,
  },
  {
    domain: 'files',
    operation: 'search',
    description: 'Search the text files below a shared folder for a literal string.',
    input: z.strictObject({ path: toolPath, text: z.string().min(1).max(500) }),
    effect: false,
    scopeVerb: 'read',
    scopePath: pathOf,
  },
  {
    domain: 'files',
    operation: 'write',
    description: 'Write a text file in a shared folder (created or replaced as a whole).',
    input: z.strictObject({ path: toolPath, content: z.string().max(700_000) }),
    effect: true,
    scopeVerb: 'write',
    scopePath: pathOf,
  },
];
export const toolDefinitions: readonly ToolDefinition[] = [...filesTools];
/** `files_read`: the name on the MCP endpoint and in the agent API. */
export const toolName = (tool: ToolDefinition): string => `${tool.domain}_${tool.operation}`;
/** `%` and `*` of a path are escaped: no file's name is ever read as a pattern. */
export const toolScope = (tool: ToolDefinition, args: Record<string, unknown>): string =>
  `${tool.domain}:${tool.scopeVerb}:${tool.scopePath(args).replace(/[%*]/g, (c) => (c === '%' ? '%25' : '%2A'))}`;

/** A provider's answer on the bus. */
export const providerReply = z.discriminatedUnion('ok', [
  z.strictObject({ ok: z.literal(true), result: z.record(z.string(), z.unknown()) }),
  z.strictObject({
    ok: z.literal(false),
    error: z.strictObject({ code: z.string().max(64), message: z.string().max(1000) }),
  }),
]);
export type ProviderReply = z.infer<typeof providerReply>;
export const providerRequest = z.strictObject({
  callId: z.string().max(64),
  args: z.record(z.string(), z.unknown()),
});
