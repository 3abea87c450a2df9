import { toolTrustEnvironment } from '../../../pure/compile/index.ts';

/** Where a sandbox finds its doors. */
const api = 'http://127.0.0.1:9090';
export const mcpUrl = `${api}/mcp`;
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
    ...toolTrustEnvironment(),
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
