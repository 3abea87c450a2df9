/**
 * The agent SDK: what code inside a sandbox can ask of its sidecar, over plain HTTP on the sandbox's loopback. It holds no
 * secret and proves nothing: the sidecar knows its caller by the link.
 */
import { GloveboxRefusal, request, type Sidecar } from './request.ts';

export { GloveboxRefusal } from './request.ts';

export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  readonly decision: 'allow' | 'ask';
}

export interface Permission {
  /** Of the question, where a person had to be asked. */
  readonly id: string | null;
  readonly state: 'pending' | 'granted' | 'refused';
  readonly granted: boolean;
  readonly scope: string;
  readonly mode: 'once' | 'session' | null;
  readonly detail: string;
}

export interface SessionInfo {
  readonly sessionId: string;
  readonly name: string;
  readonly user: string | null;
  readonly turnId: string | null;
  /** Names this turn in later calls: see `inTurn`. */
  readonly turnToken: string | null;
  readonly expiresAt: string;
}

export interface Agent {
  /** The same, for calls that are to be of this turn: once it is over they have no grant, whoever's turn it is then. */
  inTurn(turnToken: string): Agent;
  session(): Promise<SessionInfo>;
  tools(): Promise<readonly Tool[]>;
  /** Calls a tool once. Rejects with GloveboxRefusal; `GB_CONSENT_REQUIRED` says which scope to ask for. */
  call(tool: string, args: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>>;
  /** Asks a person, and waits for the answer. */
  requestPermission(
    scope: string,
    reason: string,
    args?: Readonly<Record<string, unknown>>,
  ): Promise<Permission>;
  /** Asks, and does not wait: `permission` tells what became of it, in another process too. */
  askPermission(scope: string, reason: string, args?: Readonly<Record<string, unknown>>): Promise<Permission>;
  permission(id: string): Promise<Permission>;
  /** Takes the question back; an answer that is there stands. */
  cancelPermission(id: string): Promise<Permission>;
  /** Calls a tool and, where it needs consent, asks the person once and calls it again. */
  callWithConsent(
    tool: string,
    args: Readonly<Record<string, unknown>>,
    reason: string,
  ): Promise<Readonly<Record<string, unknown>>>;
  /** Tells the people of the session how the work goes: at most 4,000 characters, shown as the agent's own words. */
  emit(kind: 'progress' | 'message' | 'result', text: string): Promise<void>;
}

/** `base` is where the sidecar's API listens in the sandbox. */
export function connect(base = process.env['GLOVEBOX_URL'] ?? 'http://127.0.0.1:9090'): Agent {
  return agentOf({ base, turn: null });
}

function agentOf(base: Sidecar): Agent {
  const call: Agent['call'] = (tool, args) =>
    request(base, 'POST', `/v1/tools/${encodeURIComponent(tool)}`, args);
  const ask = (
    wait: boolean,
    scope: string,
    reason: string,
    args?: Readonly<Record<string, unknown>>,
  ): Promise<Permission> =>
    request(base, 'POST', '/v1/permissions', {
      scope,
      reason,
      ...(wait ? {} : { wait }),
      ...(args === undefined ? {} : { arguments: args }),
    });
  const requestPermission: Agent['requestPermission'] = (...what) => ask(true, ...what);
  const at = (id: string): string => `/v1/permissions/${encodeURIComponent(id)}`;
  return {
    inTurn: (turn) => agentOf({ ...base, turn }),
    session: () => request(base, 'GET', '/v1/session'),
    tools: () => request(base, 'GET', '/v1/tools'),
    call,
    requestPermission,
    askPermission: (...what) => ask(false, ...what),
    permission: (id) => request(base, 'GET', at(id)),
    cancelPermission: (id) => request(base, 'DELETE', at(id)),
    callWithConsent: async (tool, args, reason) => {
      try {
        return await call(tool, args);
      } catch (error) {
        if (
          !(error instanceof GloveboxRefusal) ||
          error.code !== 'GB_CONSENT_REQUIRED' ||
          error.scope === null
        )
          throw error;
        const permission = await requestPermission(error.scope, reason, args);
        if (!permission.granted)
          throw new GloveboxRefusal('GB_CONSENT_DENIED', `${permission.scope}: ${permission.detail}`, null);
        return call(tool, args);
      }
    },
    emit: async (kind, text) => {
      await request(base, 'POST', '/v1/events', { kind, text });
    },
  };
}
