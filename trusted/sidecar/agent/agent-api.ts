import { z } from 'zod';
import {
  agentRoutes,
  GloveboxError,
  limits,
  parseUntrusted,
  untrusted,
  type LinkCaller,
  type PermissionRequest,
  type Untrusted,
} from '../../../pure/contracts/index.ts';
import type { Named } from '../../../pure/consent/index.ts';
import type { Operations, PermittedTool } from '../operations/operations.ts';
import type { Permissions } from '../operations/permissions.ts';
import type { Runtime } from '../runtime.ts';
import type { Turns } from '../turns.ts';

export interface AgentApiOptions {
  readonly sessionName: string;
  readonly expiresAt: string;
  readonly operations: Operations;
  readonly permissions: Permissions;
  readonly turns: Turns;
  /** Something that the agent says, for people; shown as the agent's own words. */
  readonly emit: (event: AgentEvent) => Promise<void>;
  readonly runtime: Runtime;
}

type Handlers = {
  readonly [Name in keyof typeof agentRoutes]: (
    caller: LinkCaller,
    input: { readonly params: Record<string, string>; readonly body: Untrusted; readonly named: Named },
  ) => Promise<z.infer<(typeof agentRoutes)[Name]['response']>>;
};
export type AgentEvent = z.infer<typeof agentRoutes.emitEvent.body>;

/** JSON Schema of what a tool takes, as a client has to send it. */
export const inputSchemaOf = ({ tool }: PermittedTool): Record<string, unknown> =>
  z.toJSONSchema(tool.input, { io: 'input', unrepresentable: 'any' });

/** What the agent may do, each by the registry's route; HTTP and MCP are two doors to the same. */
export class AgentApi {
  readonly handlers: Handlers;
  readonly #options: AgentApiOptions;
  #window = 0;
  #events = 0;

  constructor(options: AgentApiOptions) {
    this.#options = options;
    const { operations, turns } = options;
    this.handlers = {
      session: (caller) => {
        const stamp = turns.stamp();
        return Promise.resolve({
          sessionId: caller.sessionId,
          name: options.sessionName,
          user: stamp?.user ?? null,
          turnId: stamp?.turnId ?? null,
          turnToken: turns.token(),
          expiresAt: options.expiresAt,
        });
      },
      listTools: () =>
        Promise.resolve(
          operations.permitted().map((permitted) => ({
            name: permitted.name,
            description: permitted.tool.description,
            inputSchema: inputSchemaOf(permitted),
            decision: permitted.decision,
          })),
        ),
      callTool: (_caller, { params, body, named }) => operations.call(params['tool'] ?? '', body, named),
      requestPermission: async (_caller, { body, named }) => {
        const asked = parseUntrusted(agentRoutes.requestPermission.body, body, 'The request');
        const { wait, ...request } = asked;
        return { ...(await options.permissions.request(request, named, wait)) };
      },
      getPermission: (_caller, { params }) =>
        Promise.resolve({ ...options.permissions.status(params['permission'] ?? '') }),
      cancelPermission: async (_caller, { params }) => ({
        ...(await options.permissions.cancel(params['permission'] ?? '')),
      }),
      emitEvent: async (_caller, { body }) => {
        const event = parseUntrusted(agentRoutes.emitEvent.body, body, 'The event');
        this.#count();
        await options.emit(event);
        return { accepted: true };
      },
    };
  }

  permitted(): readonly PermittedTool[] {
    return this.#options.operations.permitted();
  }

  callTool(name: string, args: unknown, named: Named): Promise<Record<string, unknown>> {
    return this.#options.operations.call(name, untrusted(args), named);
  }

  async requestPermission(
    request: PermissionRequest,
    named: Named,
  ): Promise<z.infer<typeof agentRoutes.requestPermission.response>> {
    return { ...(await this.#options.permissions.request(request, named)) };
  }

  #count(): void {
    const window = Math.floor(this.#options.runtime.now() / 60_000);
    this.#events = window === this.#window ? this.#events + 1 : 1;
    this.#window = window;
    if (this.#events <= limits.agentEvents.value) return;
    throw new GloveboxError('GB_LIMIT_REACHED', {
      limit: 'agentEvents',
      detail: 'too many events in one minute',
    });
  }
}
