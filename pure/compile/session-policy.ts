import type { PolicyDocument, SidecarPolicy } from '../contracts/index.ts';

/** A session's policy for its sidecar, but for the Cedar text, which cedar.ts makes from the same tools. */
export interface CompiledSession {
  readonly tools: SidecarPolicy['tools'];
  readonly egress: SidecarPolicy['egress'];
  readonly placeholders: SidecarPolicy['placeholders'];
  /** The agent's variables: plain text, or the placeholder of a secret. */
  readonly env: Readonly<Record<string, string>>;
  /** The secrets that an egress rule uses: what the secret broker may hand to this session's sidecar. */
  readonly secrets: readonly string[];
}

export interface CompileInput {
  readonly document: PolicyDocument;
  /** Additional variables of the run; `secret:NAME` stands for a placeholder. */
  readonly env: Readonly<Record<string, string>>;
  /** PEM texts of the private authorities that the document names, by file. */
  readonly authorities: Readonly<Record<string, string>>;
  /** Unguessable text, new for each session and secret: the placeholder that the sandbox holds in a key's place. */
  readonly placeholder: (secret: string) => string;
}

export function compileSession({ document, env, authorities, placeholder }: CompileInput): CompiledSession {
  const egress = document.egress.map((rule, index) => {
    const caPem = rule.caFile === undefined ? undefined : authorities[rule.caFile];
    // Of a gRPC call, path and method are its service and method.
    const grpc =
      rule.grpc === undefined ? {} : { methods: ['POST'], paths: rule.grpc.map((method) => `/${method}`) };
    return { ...rule, ...grpc, id: `egress.${index}`, ...(caPem === undefined ? {} : { caPem }) };
  });
  const bound = egress.flatMap((rule) => (rule.credential === undefined ? [] : [rule.credential.secret]));
  const asked = [
    ...Object.values(document.env).flatMap((value) => (typeof value === 'string' ? [] : [value.placeholder])),
  ];
  const placed = Object.values(env).flatMap((value) =>
    value.startsWith('secret:') ? [value.slice('secret:'.length)] : [],
  );
  const placeholders = Object.fromEntries(
    [...new Set([...bound, ...asked, ...placed])].map((name) => [name, placeholder(name)]),
  );
  const variables = Object.entries(document.env).map(
    ([name, value]) =>
      [name, typeof value === 'string' ? value : (placeholders[value.placeholder] ?? '')] as const,
  );
  const extra = Object.entries(env).map(
    ([name, value]) =>
      [
        name,
        value.startsWith('secret:') ? (placeholders[value.slice('secret:'.length)] ?? '') : value,
      ] as const,
  );
  return {
    tools: document.tools,
    egress,
    placeholders,
    env: Object.fromEntries([...variables, ...extra]),
    secrets: [...new Set(bound)],
  };
}
