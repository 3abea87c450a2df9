import { z } from 'zod';

/** One process that the trusted side starts in the sandbox; `main` is the agent's command. */
const processId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

/** What init says. It runs in the sandbox: every line is untrusted until it is parsed as one of these. */
export const linkEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('hello'), version: z.literal(1) }),
  z.strictObject({ type: z.literal('configured') }),
  z.strictObject({ type: z.literal('started'), id: processId, pid: z.int().min(1) }),
  z.strictObject({
    type: z.literal('exited'),
    id: processId,
    code: z.int().min(0).max(255).nullable(),
    signal: z.int().min(1).max(64).nullable(),
  }),
  z.strictObject({
    type: z.literal('failed'),
    id: z.union([processId, z.literal('')]),
    code: z.string().max(64),
    message: z.string().max(2048),
  }),
  z.strictObject({ type: z.literal('heartbeat') }),
  /** Of a sandbox with a certificate of its own: DER, and a signature over this connection's exporter. */
  z.strictObject({ type: z.literal('renewal'), csr: z.base64().max(4096), token: z.string().max(200) }),
  z.strictObject({ type: z.literal('proof'), signature: z.base64().max(200) }),
]);
export type LinkEvent = z.infer<typeof linkEvent>;
export type RenewalEvent = Extract<LinkEvent, { type: 'renewal' | 'proof' }>;

export interface WindowSize {
  readonly rows: number;
  readonly cols: number;
}

export type LinkCommand =
  | {
      readonly type: 'configure';
      readonly listen: readonly { readonly address: string; readonly tunnel: string }[];
    }
  | {
      readonly type: 'start';
      readonly id: string;
      readonly argv: readonly string[];
      readonly env: readonly string[];
      readonly cwd: string;
      readonly terminal: WindowSize | null;
      /** Base64: what the process finds on its descriptor 3. */
      readonly fd3: string | null;
    }
  | { readonly type: 'signal'; readonly id: string; readonly signal: number }
  | ({ readonly type: 'resize'; readonly id: string } & WindowSize)
  /** `null`: it is time for a new key; else the certificate of that key, leaf first, base64 of DER: to be proven. */
  | { readonly type: 'renew'; readonly chain: readonly string[] | null }
  | { readonly type: 'stop' };

export const stdioNames = ['stdin', 'stdout', 'stderr', 'terminal'] as const;
export type StdioName = (typeof stdioNames)[number];

/** Where a stream of a link leads. Anything else is not spoken on a link. */
export type LinkPath =
  | { readonly kind: 'control' }
  | { readonly kind: 'stdio'; readonly id: string; readonly name: StdioName }
  | { readonly kind: 'tunnel'; readonly name: string };

export function parseLinkPath(path: string): LinkPath | undefined {
  if (path === '/v1/control') return { kind: 'control' };
  const tunnel = /^\/v1\/tunnel\/([A-Za-z0-9_-]{1,64})$/.exec(path)?.[1];
  if (tunnel !== undefined) return { kind: 'tunnel', name: tunnel };
  const [, id, name] = /^\/v1\/stdio\/([A-Za-z0-9_-]{1,64})\/([a-z]+)$/.exec(path) ?? [];
  const stdio = stdioNames.find((known) => known === name);
  return id === undefined || stdio === undefined ? undefined : { kind: 'stdio', id, name: stdio };
}
