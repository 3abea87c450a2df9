import { createMcpHandler, McpServer, type ServerContext } from '@modelcontextprotocol/server';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Named } from '../../../pure/consent/index.ts';
import { asGloveboxError, GloveboxError, limits, permissionRequest } from '../../../pure/contracts/index.ts';
import type { AgentApi } from './agent-api.ts';
import type { McpEndpoint } from './agent-server.ts';

interface ToolAnswer {
  [key: string]: unknown;
  content: { type: 'text'; text: string }[];
  structuredContent?: Record<string, unknown>;
  isError?: boolean;
}

/** What the endpoint needs of the agent API. */
export type McpApi = Pick<AgentApi, 'permitted' | 'callTool' | 'requestPermission'>;

/** MCP over Streamable HTTP, stateless: one server for each request, of the tools that the policy permits at that moment. */
export function createMcpEndpoint(api: McpApi, onError: (error: unknown) => void): McpEndpoint {
  const handler = createMcpHandler(() => serverOf(api, onError), {
    maxRequestBodySize: limits.operationBody.value,
    onerror: onError,
  });
  const node = toNodeHandler(handler, { maxRequestBodySize: limits.operationBody.value, onerror: onError });
  return async (request, response, named) =>
    await naming.run(named, async () => {
      await node(request as Parameters<typeof node>[0], response);
    });
}

/** Whose call a request is, along its way through the library. Without it a call is nobody's: it fails. */
const naming = new AsyncLocalStorage<Named>();
function named(): Named {
  const by = naming.getStore();
  if (by === undefined) throw new GloveboxError('GB_INTERNAL', { detail: 'an MCP call without its request' });
  return by;
}

function serverOf(api: McpApi, onError: (error: unknown) => void): McpServer {
  const server = new McpServer(
    { name: 'glovebox', version: '1.0.0' },
    {
      // A session keeps the tools that it began with, and no stream is held open to say otherwise.
      capabilities: { tools: { listChanged: false } },
      instructions:
        'Tools outside the sandbox. A call that needs consent fails with GB_CONSENT_REQUIRED and names its scope: ask with request_permission, then call again.',
    },
  );
  for (const { name, tool, decision } of api.permitted()) {
    const note = decision === 'ask' ? ' Needs consent: ask with request_permission first.' : '';
    server.registerTool(
      name,
      {
        description: `${tool.description}${note}`,
        inputSchema: tool.input,
        annotations: {
          readOnlyHint: tool.scopeVerb === 'read',
          destructiveHint: tool.effect,
          openWorldHint: false,
        },
      },
      (args) => answer(() => api.callTool(name, args, named()), onError),
    );
  }
  server.registerTool(
    'request_permission',
    {
      description:
        'Asks the person for consent to a scope, such as files:write:/shared/notes.md. Waits for the answer, up to some minutes.',
      inputSchema: permissionRequest,
    },
    (request, ctx) =>
      answer(
        async () => ({
          ...(await withProgress(ctx, 'waiting for the person', () =>
            api.requestPermission(request, named()),
          )),
        }),
        onError,
      ),
  );
  return server;
}

/**
 * While a person thinks, a client that asked for progress hears at intervals that its call is alive: it would take the silence for a
 * failure. One that is gone is no reason to stop waiting.
 */
async function withProgress<T>(
  { mcpReq }: ServerContext,
  message: string,
  work: () => Promise<T>,
): Promise<T> {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return await work();
  let progress = 0;
  const tell = (): void => {
    progress += 1;
    const params = { progressToken, progress, message };
    mcpReq.notify({ method: 'notifications/progress', params }).catch(() => clearInterval(timer));
  };
  const timer = setInterval(tell, limits.mcpProgress.value);
  timer.unref();
  tell();
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** A refusal is an answer that the agent can read and act on, not a failure of the protocol. */
async function answer(
  work: () => Promise<Record<string, unknown>>,
  onError: (error: unknown) => void,
): Promise<ToolAnswer> {
  try {
    const result = await work();
    return { content: [{ type: 'text', text: JSON.stringify(result) }], structuredContent: result };
  } catch (error) {
    const known = asGloveboxError(error);
    if (known.code === 'GB_INTERNAL') onError(error);
    const { what, why, todo } = known;
    return { isError: true, content: [{ type: 'text', text: `${known.code}: ${what} ${why} ${todo}` }] };
  }
}
