import { caBundlePath } from './oci-spec-types.ts';

/** Where a sandbox finds its way out; there is no other. */
export const egressProxyUrl = 'http://127.0.0.1:3128';
const loopback = 'localhost,127.0.0.1,::1';

export interface ToolTrust {
  readonly variable: string;
  readonly value: string;
  /** Who reads it. */
  readonly tools: string;
  readonly reason: string;
}

const row = (variable: string, value: string, tools: string, reason: string): ToolTrust => ({
  variable,
  value,
  tools,
  reason,
});
const ca = (variable: string, tools: string, reason: string): ToolTrust =>
  row(variable, caBundlePath, tools, reason);

/**
 * How tools find the proxy and trust the session's authority without being told: the environment of every command is made of this, and
 * docs/tools.md too. The bundle holds the host's authorities and the session's; /etc has it under each name that a system uses.
 */
export const toolTrust: readonly ToolTrust[] = [
  row('HTTPS_PROXY', egressProxyUrl, 'most', 'the usual name'),
  row('https_proxy', egressProxyUrl, 'wget, curl, Python', 'the name that these prefer, or know alone'),
  row('HTTP_PROXY', egressProxyUrl, 'most', 'the usual name'),
  row('http_proxy', egressProxyUrl, 'curl, wget', 'curl reads the lower-case name only, because of CGI'),
  row('ALL_PROXY', egressProxyUrl, 'curl, Rust clients', 'for schemes without a name of their own'),
  row('all_proxy', egressProxyUrl, 'curl, httpx', 'the same, in lower case'),
  row('NO_PROXY', loopback, 'most', 'the agent API and what the agent serves itself are on loopback'),
  row('no_proxy', loopback, 'wget, curl, Python', 'the same, in lower case'),
  row(
    'NODE_USE_ENV_PROXY',
    '1',
    'Node 22.21, 24 and later',
    'fetch and https read the proxy variables with this only',
  ),
  row('YARN_HTTPS_PROXY', egressProxyUrl, 'Yarn 2 and later', 'it reads its own settings only'),
  row('YARN_HTTP_PROXY', egressProxyUrl, 'Yarn 2 and later', 'it reads its own settings only'),
  ca('SSL_CERT_FILE', 'OpenSSL, Go, Ruby, Python’s ssl, httpx, uv, rustls', 'the name that OpenSSL gave it'),
  ca('NODE_EXTRA_CA_CERTS', 'Node, npm, pnpm, Bun', 'Node has authorities of its own, and adds these'),
  ca('YARN_HTTPS_CA_FILE_PATH', 'Yarn 2 and later', 'it reads its own settings only'),
  ca('REQUESTS_CA_BUNDLE', 'requests, pip, conda', 'these bring authorities of their own (certifi)'),
  ca('CURL_CA_BUNDLE', 'curl, requests', 'a curl that was built for another system looks elsewhere'),
  ca('GIT_SSL_CAINFO', 'git', 'before git’s configuration'),
  ca('CARGO_HTTP_CAINFO', 'cargo', 'before cargo’s configuration'),
  ca('PIP_CERT', 'pip', 'also where pip looks into the system’s store alone'),
  ca('AWS_CA_BUNDLE', 'AWS CLI, boto3', 'they bring authorities of their own'),
  ca('CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE', 'gcloud', 'it brings authorities of its own'),
  ca('GRPC_DEFAULT_SSL_ROOTS_FILE_PATH', 'gRPC for C++, Python, Ruby', 'it brings authorities of its own'),
  ca('HEX_CACERTS_PATH', 'mix, hex', 'it brings authorities of its own'),
  ca('NIX_SSL_CERT_FILE', 'nix and what it builds', 'it ignores the system’s store'),
  ca('DENO_CERT', 'Deno', 'it adds these to its own'),
  row('DENO_TLS_CA_STORE', 'system', 'Deno', 'it has authorities of its own'),
];

/** As variables. */
export const toolTrustEnvironment = (): Record<string, string> =>
  Object.fromEntries(toolTrust.map(({ variable, value }) => [variable, value]));
