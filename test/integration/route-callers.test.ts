import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as plainRequest, type IncomingMessage } from 'node:http';
import { request, type RequestOptions } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  agentRoutes,
  asSandboxId,
  asSessionId,
  defaultTrustDomain,
  GloveboxError,
  operatorRoutes,
  secretRoutes,
  spiffeId,
  workloadRoutes,
  type CallerKind,
  type Route,
  type Workload,
} from '../../pure/contracts/index.ts';
import type { OperatorHandlers } from '../../trusted/control-plane/operator/handlers.ts';
import { personAtSocket } from '../../trusted/control-plane/operator/operator-socket.ts';
import { operatorServer } from '../../trusted/control-plane/operator/server.ts';
import {
  clientTlsOptions,
  ConnectionRegistry,
  IdentityAgent,
  IdentityAuthority,
  MemoryIdentityStore,
  SvidSource,
  systemClock,
} from '../../trusted/identity/index.ts';
import type { AgentApi } from '../../trusted/sidecar/agent/agent-api.ts';
import { AgentServer } from '../../trusted/sidecar/agent/agent-server.ts';
import { NamedTurns } from '../../trusted/sidecar/agent/named.ts';
import { Turns } from '../../trusted/sidecar/turns.ts';
import { linkCaller } from '../../trusted/sidecar/agent/caller.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
import type { SessionRecord } from '../../trusted/store/index.ts';
import { RequestRate, serveRoutes, type RouteServer } from '../../trusted/workload-http/index.ts';
import { newId } from './sidecar-world.ts';

const own = asSessionId(newId());
const foreign = asSessionId(newId());
const id128 = newId();

/** A caller of each kind; those without a certificate are nobody on a server that knows by certificates. */
const workloads: Readonly<Record<string, Workload | null>> = {
  anonymous: null,
  operator: null,
  agent: null,
  'control-plane': { kind: 'control-plane', replica: 'local' },
  sidecar: { kind: 'sidecar', session: own },
  sandbox: { kind: 'sandbox', session: own, sandbox: asSandboxId(id128) },
  provider: { kind: 'provider', domain: 'files', name: 'main' },
  'secret-broker': { kind: 'secret-broker' },
  signer: { kind: 'signer' },
  bus: { kind: 'bus', server: 'local' },
};
const callers = Object.entries(workloads);

/** A request that each operation takes: a new route without one does not compile. */
const consent = {
  scope: 'files:read:/notes',
  reason: 'to read',
  turnId: id128,
  operation: 'files.read',
  host: null,
  argsHash: 'a'.repeat(64),
  argumentsText: '{}',
};
const registries = {
  workload: workloadRoutes,
  secrets: secretRoutes,
  operator: operatorRoutes,
  agent: agentRoutes,
} satisfies Readonly<Record<string, Readonly<Record<string, Route>>>>;
type Registries = typeof registries;
/** The routes of a registry that take a body. */
type Taking<Routes> = {
  [K in keyof Routes]: Routes[K] extends { body: z.ZodType } ? K : never;
}[keyof Routes];
const bodies: {
  readonly [R in keyof Registries]: {
    readonly [K in Taking<Registries[R]>]: z.input<Extract<Registries[R][K], { body: z.ZodType }>['body']>;
  };
} = {
  workload: {
    join: { token: 'x', csr: 'y' },
    renew: { csr: 'y' },
    joinSandbox: { token: 'x', csr: 'y' },
    renewSandbox: { serial: 'a1', csr: 'y' },
    reportPolicyStatus: { generation: 1 },
    requestConsent: consent,
    consumeConsent: { token: 'x' },
    cancelConsent: { id: id128 },
    useGrant: { grantId: id128, turnId: id128, scope: 'files:read:/notes', argsHash: 'a'.repeat(64) },
  },
  secrets: {
    putSecret: { sealed: 'x' },
    readSecret: { secret: 'one', intentSeq: 1 },
    signRequest: {
      secret: 'one',
      intentSeq: 1,
      request: {
        service: 's3',
        region: 'eu-west-1',
        method: 'GET',
        host: 'a.example',
        port: 443,
        target: '/',
        headers: [],
        payload: 'UNSIGNED-PAYLOAD',
      },
    },
  },
  operator: {
    waive: { name: 'apparmor', waived: true },
    pullImage: { reference: 'No Image' },
    rotateAuthority: { what: 'issuing' },
    revokeIdentity: { identity: 'spiffe://glovebox.local/secret-broker' },
    retainAudit: { before: '2020-01-01T00:00:00.000Z' },
    createSession: { command: ['true'], workspace: '/tmp' },
    updateSandboxPolicy: { text: 'version: 1', file: 'policy.yaml' },
    applyChanges: { sensitive: [] },
    execSession: { command: ['true'] },
    discardPaths: { paths: ['a'] },
    approveConsent: { digest: 'x', mode: 'once' },
    denyConsent: { digest: 'x' },
    createToken: { name: 'ci', scopes: ['read'], expiresInSeconds: 60 },
    putSecret: { sealed: 'x' },
  },
  agent: {
    callTool: { path: '/notes', session: foreign },
    requestPermission: { scope: 'files:read:/notes', reason: 'to read' },
    emitEvent: { kind: 'progress', text: 'x' },
  },
};

/** Something that a response's schema takes. */
function sample(schema: z.core.JSONSchema._JSONSchema): unknown {
  if (typeof schema === 'boolean') return null;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  const [first] = schema.anyOf ?? schema.oneOf ?? [];
  if (first !== undefined) return sample(first);
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        (schema.required ?? []).map((key) => [key, sample(schema.properties?.[key] ?? true)]),
      );
    case 'array':
      return [];
    case 'integer':
    case 'number':
      return Math.max(1, schema.minimum ?? 1);
    case 'boolean':
      return true;
    case 'string':
      return schema.format === 'date-time' ? new Date(0).toISOString() : 'x';
    default:
      return null;
  }
}
const answerOf = (route: Route): unknown =>
  sample(z.toJSONSchema(route.response, { io: 'output', unrepresentable: 'any' }));

let test: TestSigner;
let authority: IdentityAuthority;
let workloadServer: RouteServer;
let brokerServer: RouteServer;
const sources = new Map<string, SvidSource>();
const closers: (() => unknown)[] = [];
/** Which handlers ran: a refusal that came after the effect would be none. */
let ran: string[] = [];
const refusals: string[] = [];
let operatorSocket = '';
let agentSocket = '';
const folder = mkdtempSync(join(tmpdir(), 'glovebox-routes-'));
type SecureOptions = RequestOptions & ConnectionOptions;
type PlainOptions = { readonly socketPath: string; readonly headers: Readonly<Record<string, string>> };

async function sourceOf(workload: Workload): Promise<SvidSource> {
  const id = spiffeId(defaultTrustDomain, workload);
  const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> => authority.issueOwn(id, csr);
  const source = await SvidSource.start({ issue, renew: issue, expectedId: id });
  closers.push(() => source.close());
  return source;
}

/** Each notes that it ran and answers what the registry says that it answers. */
function handlersOf(routes: Readonly<Record<string, Route>>): Record<string, () => Promise<unknown>> {
  return Object.fromEntries(
    Object.entries(routes).map(([name, route]) => [
      name,
      async () => {
        ran.push(name);
        if (!(route.response instanceof z.ZodNull)) return answerOf(route);
        return { contentType: 'application/json', stream: Readable.from([Buffer.from('null')]) };
      },
    ]),
  );
}

async function serve(
  routes: Readonly<Record<string, Route>>,
  workload: Workload,
  clientCertificate: 'required' | 'requested',
): Promise<RouteServer> {
  const server = await serveRoutes(
    {
      routes,
      handlers: handlersOf(routes),
      identity: await sourceOf(workload),
      trustDomain: defaultTrustDomain,
      clientCertificate,
      connections: new ConnectionRegistry(systemClock),
      rate: new RequestRate('workloadRate', 1_000_000, Date.now),
      now: Date.now,
      onRefused: (_caller, operation) => refusals.push(operation),
      onError: (error) => console.error(error),
    },
    0,
  );
  closers.push(() => server.close());
  return server;
}

/** The operator API on its socket, with one session that this person may see. */
async function servePeople(): Promise<string> {
  const app = await operatorServer({
    handlers: handlersOf(operatorRoutes) as unknown as OperatorHandlers,
    findSession: async (text) => {
      if (text === own) return { id: own } as unknown as SessionRecord;
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such session', detail: text });
    },
    caller: personAtSocket(),
    version: '0',
    rate: new RequestRate('operatorRate', 1_000_000, Date.now),
    onError: (error) => console.error(error),
  });
  const path = join(folder, 'operator.sock');
  await app.listen({ path });
  closers.push(async () => await app.close());
  return path;
}

/** The agent API, given connections as a link gives them. */
async function serveAgent(): Promise<string> {
  const agent = new AgentServer({
    caller: linkCaller(own),
    api: { handlers: handlersOf(agentRoutes) } as unknown as AgentApi,
    named: new NamedTurns(new Turns({ now: Date.now, newToken: newId }), newId),
    mcp: () => Promise.reject(new Error('not in this test')),
    onError: (error) => console.error(error),
  });
  const listener = createServer((socket) => agent.handle(socket));
  const path = join(folder, 'agent.sock');
  listener.listen(path);
  await once(listener, 'listening');
  closers.push(
    () => listener.close(),
    () => agent.close(),
  );
  return path;
}

beforeAll(async () => {
  test = await startTestSigner();
  authority = new IdentityAuthority({ signer: test.signer, store: new MemoryIdentityStore(), now: Date.now });
  workloadServer = await serve(workloadRoutes, { kind: 'control-plane', replica: 'local' }, 'requested');
  brokerServer = await serve(secretRoutes, { kind: 'secret-broker' }, 'required');
  operatorSocket = await servePeople();
  agentSocket = await serveAgent();
  for (const [name, workload] of callers) if (workload !== null) sources.set(name, await sourceOf(workload));
});
afterAll(async () => {
  for (const agent of agents.values()) agent.destroy();
  for (const close of closers.reverse()) await close();
  await test.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly code: string | null;
}

/** Where a request names a session besides its path; each of them is only ever compared. */
const places = ['nowhere', 'query', 'header', 'body'] as const;
type NamedIn = (typeof places)[number];

interface Case {
  readonly registry: keyof Registries;
  readonly name: string;
  readonly route: Route;
  readonly caller: string;
  /** Of the path, where it has one. */
  readonly object: 'none' | 'own' | 'foreign';
  readonly named: NamedIn;
  readonly session: 'own' | 'foreign';
}

/** Each route, each caller, each object, and a session named in each further place. */
function table(registry: keyof Registries): Case[] {
  return Object.entries<Route>(registries[registry]).flatMap(([name, route]) => {
    const inPath = /:session|^\/v1\/sessions\/:id/.test(route.path);
    // Elsewhere than in the path only where a caller has one session: a person may name several.
    const takes = places.filter(
      (place) =>
        place === 'nowhere' || (route.owner === 'caller-session' && (place !== 'body' || namesInBody(route))),
    );
    return callers.flatMap(([caller]) =>
      (inPath ? (['own', 'foreign'] as const) : (['none'] as const)).flatMap((object) =>
        takes.flatMap((named) =>
          (named === 'nowhere' || object === 'foreign'
            ? (['own'] as const)
            : named === 'body' // No schema has a place for one's own.
              ? (['foreign'] as const)
              : (['own', 'foreign'] as const)
          ).map((session) => ({ registry, name, route, caller, object, named, session })),
        ),
      ),
    );
  });
}

/** A body that is somebody's own text (a tool's arguments) names nothing. */
const namesInBody = (route: Route): boolean =>
  route.body !== undefined && !(route.body instanceof z.ZodRecord);

/** How a server tells who is there, and what of the rules is its own to keep. */
interface Server {
  readonly title: string;
  readonly registry: keyof Registries;
  /** Kinds of caller that get as far as a request, by what this server knows them by. */
  readonly knows: (caller: string) => CallerKind | 'signer' | 'bus' | 'no-connection';
  /** Routes that the server answers without a handler, and how. */
  readonly itself: Readonly<Record<string, Answer>>;
  readonly ask: (one: Case) => Promise<Answer | 'no-connection'>;
}

/** What the registry says, worked out apart from the servers. */
function expected(server: Server, one: Case): Answer | 'no-connection' {
  const kind = server.knows(one.caller);
  if (kind === 'no-connection') return 'no-connection';
  const { route } = one;
  if (!route.callers.includes(kind as CallerKind)) return { status: 403, code: 'GB_CALLER_REFUSED' };
  const itself = server.itself[one.name];
  if (itself !== undefined) return itself;
  switch (route.owner) {
    case 'none':
    case 'self':
      break;
    case 'operator-session':
      if (one.object === 'foreign') return { status: 404, code: 'GB_NOT_FOUND' };
      break;
    case 'caller-session':
      if (one.object === 'foreign' || (one.named !== 'nowhere' && one.session === 'foreign'))
        return { status: 403, code: 'GB_CALLER_MISMATCH' };
  }
  return { status: 200, code: null };
}

/** One connection for each caller and server: a handshake for each of a thousand requests shows nothing more. */
const agents = new Map<SvidSource, IdentityAgent>();
function agentOf(source: SvidSource): IdentityAgent {
  const agent = agents.get(source) ?? new IdentityAgent(source, () => true, { keepAlive: true });
  agents.set(source, agent);
  return agent;
}

const byCertificate =
  (server: () => RouteServer) =>
  async (one: Case): Promise<Answer | 'no-connection'> => {
    const { host, port } = server();
    const source = sources.get(one.caller);
    return await send(one, {
      secure: {
        host,
        port,
        ...(source === undefined
          ? {
              ca: (sources.get('sidecar') as SvidSource).current().bundlePem,
              checkServerIdentity: () => undefined,
              agent: false,
            }
          : { agent: agentOf(source) }),
      },
    });
  };
/** A person's socket and an agent's link know who is there by itself; a certificate is noise to them. */
const byPlace =
  (own: string, path: () => string, host: string) =>
  async (one: Case): Promise<Answer | 'no-connection'> => {
    if (one.caller === own) return await send(one, { plain: { socketPath: path(), headers: { host } } });
    const source = sources.get(one.caller);
    const secure =
      source === undefined ? { rejectUnauthorized: false } : clientTlsOptions(source, () => true);
    return await send(one, { secure: { ...secure, socketPath: path(), agent: false } });
  };

async function send(
  one: Case,
  way: { readonly secure: SecureOptions } | { readonly plain: PlainOptions },
): Promise<Answer | 'no-connection'> {
  const { name, route } = one;
  const session = one.session === 'own' ? own : foreign;
  const inPath = one.object === 'foreign' ? foreign : own;
  const path = route.path
    .replace(':session', inPath)
    .replace('/v1/sessions/:id', `/v1/sessions/${inPath}`)
    .replace(/:[a-z]+/g, 'one');
  const given = (bodies[one.registry] as Readonly<Record<string, unknown>>)[name];
  const body = one.named === 'body' ? { ...(given as object), session } : given;
  const options = {
    method: route.method,
    path: one.named === 'query' ? `${path}?session=${session}` : path,
    headers: {
      ...('plain' in way ? way.plain.headers : {}),
      ...(one.named === 'header' ? { 'x-glovebox-session': session } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
  };
  const outgoing =
    'plain' in way ? plainRequest({ ...way.plain, ...options }) : request({ ...way.secure, ...options });
  try {
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const parsed = (text === '' ? null : JSON.parse(text)) as { error?: { code?: string } } | null;
    return { status: response.statusCode ?? 0, code: parsed?.error?.code ?? null };
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    return 'no-connection';
  }
}

const kindOf = (caller: string): CallerKind | 'signer' | 'bus' => workloads[caller]?.kind ?? 'anonymous';
const only =
  (own: CallerKind) =>
  (caller: string): CallerKind | 'no-connection' =>
    caller === own ? own : 'no-connection';

const servers: readonly Server[] = [
  {
    title: 'the workload API, over mutual TLS',
    registry: 'workload',
    knows: kindOf,
    itself: {},
    ask: byCertificate(() => workloadServer),
  },
  {
    title: 'the secret broker, over mutual TLS',
    registry: 'secrets',
    knows: (caller) => ((workloads[caller] ?? null) === null ? 'no-connection' : kindOf(caller)),
    itself: {},
    ask: byCertificate(() => brokerServer),
  },
  {
    title: 'the operator API, on its socket',
    registry: 'operator',
    knows: only('operator'),
    itself: {
      openapi: { status: 200, code: null },
      // An upgrade: its session is found by the same function (attach-upgrade.ts).
      attachSession: { status: 400, code: 'GB_INPUT_INVALID' },
    },
    ask: byPlace('operator', () => operatorSocket, 'localhost'),
  },
  {
    title: 'the agent API, at the end of a link',
    registry: 'agent',
    knows: only('agent'),
    itself: {},
    ask: byPlace('agent', () => agentSocket, '127.0.0.1:9090'),
  },
];

describe.each(servers.map((server) => [server.title, server] as const))('%s', (_title, server) => {
  const all = table(server.registry);
  const byRoute = new Map<string, Case[]>();
  for (const one of all) {
    const what = `${one.name} by ${one.caller}`;
    byRoute.set(what, [...(byRoute.get(what) ?? []), one]);
  }

  it.each([...byRoute])('[R2] [R3] %s, own and foreign object', async (_what, cases) => {
    for (const one of cases) {
      ran = [];
      const before = refusals.length;
      const answer = await server.ask(one);
      const wanted = expected(server, one);
      const label = `${one.object} in the path, ${one.session} in ${one.named}`;
      expect(answer, label).toEqual(wanted);
      const served = wanted !== 'no-connection' && wanted.status === 200 && !(one.name in server.itself);
      // A refusal that came after the effect would be none.
      expect(ran, label).toEqual(served ? [one.name] : []);
      if (wanted !== 'no-connection' && wanted.status === 403 && server.knows === kindOf)
        expect(refusals.slice(before), label).toEqual([one.name]);
    }
  });

  it('[R3] some caller is permitted, and some refused, on every route', () => {
    for (const name of Object.keys(registries[server.registry])) {
      const answers = all.filter((one) => one.name === name).map((one) => expected(server, one));
      const permitted = answers.filter((answer) => answer !== 'no-connection' && answer.status === 200);
      if (!(name in server.itself)) expect(permitted.length, name).toBeGreaterThan(0);
      expect(permitted.length, name).toBeLessThan(answers.length);
    }
  });
});

describe('operations of people and of agents', () => {
  const elsewhere = [
    ...(Object.entries(operatorRoutes) as [string, Route][]),
    ...(Object.entries(agentRoutes) as [string, Route][]),
  ].filter(([, route]) =>
    // Where a path is one of the server's own too, the table above is what counts.
    [...Object.values<Route>(workloadRoutes), ...Object.values<Route>(secretRoutes)].every(
      (one) => one.method !== route.method || shape(one.path) !== shape(route.path),
    ),
  );
  it.each(elsewhere)('[R3] %s exists for nobody who comes with a certificate', async (name, route) => {
    for (const server of servers.slice(0, 2))
      for (const [caller] of callers) {
        if (server.knows(caller) === 'no-connection') continue;
        const { registry } = server;
        const one = {
          registry,
          name,
          route,
          caller,
          object: 'own',
          named: 'nowhere',
          session: 'own',
        } as const;
        expect(await server.ask(one), caller).toMatchObject({ status: 404 });
      }
  });

  it('[R3] every operation of a person is a person’s alone, every one of an agent’s is the link’s alone', () => {
    for (const [name, route] of Object.entries<Route>(operatorRoutes)) {
      expect(route.callers, name).toEqual(['operator']);
      expect(route.owner, name).toBe(/^\/v1\/sessions\/:id/.test(route.path) ? 'operator-session' : 'none');
    }
    for (const [name, route] of Object.entries<Route>(agentRoutes)) {
      expect(route.callers, name).toEqual(['agent']);
      expect(route.owner, name).toBe('caller-session');
    }
  });

  const sevenOperations = {
    getSandboxPolicy: ['operator', 'sidecar'],
    getSandboxProviderEnvironment: ['sidecar'],
    updateSandboxPolicy: ['operator'],
    reportPolicyStatus: ['sidecar'],
    listSandboxPolicies: ['operator'],
    getSandboxPolicyStatus: ['operator'],
    getSandboxLogs: ['operator'],
  } as const;
  const everywhere: readonly Readonly<Record<string, Route>>[] = Object.values(registries);
  const registered = (name: string): boolean => everywhere.some((registry) => name in registry);
  it.each(Object.entries(sevenOperations).filter(([name]) => registered(name)))(
    '[R2] %s is a sidecar’s for its own session, or a person’s for what they may see',
    (name, who) => {
      const found = everywhere.flatMap((registry) => registry[name] ?? []);
      expect(found.flatMap((route) => [...route.callers]).sort()).toEqual([...who]);
      for (const route of found) {
        const rule = route.callers.includes('sidecar')
          ? 'caller-session'
          : route.path.includes(':id')
            ? 'operator-session'
            : 'none';
        expect(route.owner).toBe(rule);
      }
    },
  );

  it('[R3] no operation is open to a sandbox’s certificate', () => {
    for (const registry of everywhere)
      for (const [name, route] of Object.entries(registry))
        if (route.callers.includes('sandbox')) throw new Error(`${name} is open to a sandbox`);
  });
});

const shape = (path: string): string => path.replace(/:[a-z]+/gi, ':');
