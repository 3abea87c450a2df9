/** Where a sandbox finds its doors. Names of variables are those of the tools that read them (FIELD-NOTES). */
const api = 'http://127.0.0.1:9090';
export const mcpUrl = `${api}/mcp`;
const proxy = 'http://127.0.0.1:3128';
const caBundle = '/etc/ssl/certs/ca-certificates.crt';
export const agentHome = '/home/agent';

export interface EnvironmentInput {
  readonly path: string;
  readonly term: string | null;
  /** Of policy and run, with placeholders in the place of secrets. */
  readonly own: Readonly<Record<string, string>>;
  /** Of an image; the doors and the home stay Glovebox's. */
  readonly image?: { readonly env: Readonly<Record<string, string>>; readonly user: string };
}

/** The whole environment of the agent's command, as `K=V`: nothing of the host's own gets in (R27). */
export function agentEnvironment({ path, term, own, image }: EnvironmentInput): string[] {
  const doors = {
    HTTPS_PROXY: proxy,
    https_proxy: proxy,
    HTTP_PROXY: proxy,
    http_proxy: proxy,
    ALL_PROXY: proxy,
    all_proxy: proxy,
    NO_PROXY: 'localhost,127.0.0.1,::1',
    no_proxy: 'localhost,127.0.0.1,::1',
    NODE_USE_ENV_PROXY: '1',
    SSL_CERT_FILE: caBundle,
    NODE_EXTRA_CA_CERTS: caBundle,
    REQUESTS_CA_BUNDLE: caBundle,
    CURL_CA_BUNDLE: caBundle,
    GIT_SSL_CAINFO: caBundle,
    CARGO_HTTP_CAINFO: caBundle,
    PIP_CERT: caBundle,
    AWS_CA_BUNDLE: caBundle,
    DENO_TLS_CA_STORE: 'system',
    GLOVEBOX_URL: api,
    GLOVEBOX_MCP_URL: mcpUrl,
  };
  const base = {
    PATH: path,
    HOME: agentHome,
    USER: image?.user ?? 'agent',
    LOGNAME: image?.user ?? 'agent',
    SHELL: '/bin/sh',
    LANG: 'C.UTF-8',
    TMPDIR: '/tmp',
    ...(term === null ? {} : { TERM: term === '' ? 'xterm-256color' : term }),
  };
  return Object.entries({ ...image?.env, ...base, ...doors, ...own }).map(
    ([name, value]) => `${name}=${value}`,
  );
}

/** The environment of the session's command; what names its terminal is the new one's. */
export const withTerm = (env: readonly string[], term: string | undefined): string[] => [
  ...env.filter((entry) => !entry.startsWith('TERM=')),
  ...(term === undefined ? [] : [`TERM=${term}`]),
];
