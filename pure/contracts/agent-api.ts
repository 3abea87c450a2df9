import { z } from 'zod';
import { permissionRequest } from './consent.ts';
import { defineRoutes } from './route.ts';

/** Names the turn that a call is to be of (R36): it is that turn's or nobody's, and has no grant once the turn is over. */
export const turnHeader = 'glovebox-turn';

/** What an agent sees at http://127.0.0.1:9090 in its sandbox; the caller is the link. `/mcp` is the MCP endpoint beside it. */
const agent = { callers: ['agent'], owner: 'caller-session' } as const;
const permissionParam = z.strictObject({ permission: z.string().max(64) });
const permissionAnswer = z.object({
  /** Null: nobody had to be asked. */
  id: z.string().nullable(),
  state: z.enum(['pending', 'granted', 'refused']),
  granted: z.boolean(),
  scope: z.string(),
  mode: z.enum(['once', 'session']).nullable(),
  detail: z.string(),
});
export const agentRoutes = defineRoutes({
  session: {
    method: 'GET',
    path: '/v1/session',
    ...agent,
    response: z.object({
      sessionId: z.string(),
      name: z.string(),
      user: z.string().nullable(),
      turnId: z.string().nullable(),
      /** For the header `glovebox-turn` of calls that are to be of this turn and no later one. */
      turnToken: z.string().nullable(),
      expiresAt: z.string(),
    }),
  },
  listTools: {
    method: 'GET',
    path: '/v1/tools',
    ...agent,
    response: z.array(
      z.object({
        name: z.string(),
        description: z.string(),
        inputSchema: z.record(z.string(), z.unknown()),
        decision: z.enum(['allow', 'ask']),
      }),
    ),
  },
  callTool: {
    method: 'POST',
    path: '/v1/tools/:tool',
    ...agent,
    params: z.strictObject({ tool: z.string().max(100) }),
    body: z.record(z.string(), z.unknown()),
    response: z.record(z.string(), z.unknown()),
  },
  requestPermission: {
    method: 'POST',
    path: '/v1/permissions',
    ...agent,
    /** `wait` false: answered at once, with the id to look for the answer by. */
    body: permissionRequest.extend({ wait: z.boolean().default(true) }),
    response: permissionAnswer,
  },
  /** What became of a question: also for a client that was started anew since it asked. */
  getPermission: {
    method: 'GET',
    path: '/v1/permissions/:permission',
    ...agent,
    params: permissionParam,
    response: permissionAnswer,
  },
  /** The agent no longer needs it: the person is not asked any more. One that is answered stays as it is. */
  cancelPermission: {
    method: 'DELETE',
    path: '/v1/permissions/:permission',
    ...agent,
    params: permissionParam,
    response: permissionAnswer,
  },
  emitEvent: {
    method: 'POST',
    path: '/v1/events',
    ...agent,
    body: z.strictObject({ kind: z.enum(['progress', 'message', 'result']), text: z.string().max(4000) }),
    response: z.object({ accepted: z.boolean() }),
  },
});
