import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  agentRoutes,
  asSandboxId,
  asSessionId,
  defaultTrustDomain,
  operatorRoutes,
  secretRoutes,
  sessionOf,
  spiffeId,
  identityOf,
  workloadRoutes,
  type CallerKind,
  type Route,
  type Workload,
} from '../../pure/contracts/index.ts';
import {
  ConnectionRegistry,
  IdentityAgent,
  IdentityAuthority,
  MemoryIdentityStore,
  SvidSource,
  systemClock,
} from '../../trusted/identity/index.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
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
const bodies: Readonly<Record<keyof typeof workloadRoutes | keyof typeof secretRoutes, unknown>> = {
  join: { token: 'x', csr: 'y' },
  renew: { csr: 'y' },
  getSandboxPolicy: undefined,
  getSandboxProviderEnvironment: undefined,
  reportPolicyStatus: { generation: 1 },
  requestConsent: consent,
  consumeConsent: { token: 'x' },
  secretBindings: undefined,
  sealingKey: undefined,
  listSecrets: undefined,
  putSecret: { sealed: 'x' },
  removeSecret: undefined,
  readSecret: { secret: 'one', intentSeq: 1 },
};
const answers: Readonly<Record<keyof typeof bodies, unknown>> = {
  join: { chainPem: '', bundlePem: '', notAfter: '' },
  renew: { chainPem: '', bundlePem: '', notAfter: '' },
  getSandboxPolicy: { generation: 1, document: {} },
  getSandboxProviderEnvironment: { references: {} },
  reportPolicyStatus: { accepted: true },
  requestConsent: { id: '', expiresAt: '', digest: '' },
  consumeConsent: { grantId: '' },
  secretBindings: { secrets: [] },
  sealingKey: { jwk: {} },
  listSecrets: [],
  putSecret: { name: '', updatedAt: '' },
  removeSecret: { name: '' },
  readSecret: { value: '' },
};

let test: TestSigner;
let authority: IdentityAuthority;
let workloadServer: RouteServer;
let brokerServer: RouteServer;
const sources = new Map<string, SvidSource>();
const closers: (() => unknown)[] = [];
/** Which handlers ran: a refusal that came after the effect would be none. */
let ran: string[] = [];
const refusals: string[] = [];

async function sourceOf(workload: Workload): Promise<SvidSource> {
  const id = spiffeId(defaultTrustDomain, workload);
  const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> => authority.issueOwn(id, csr);
  const source = await SvidSource.start({ issue, renew: issue, expectedId: id });
  closers.push(() => source.close());
  return source;
}

async function serve(
  routes: Readonly<Record<string, Route>>,
  workload: Workload,
  clientCertificate: 'required' | 'requested',
): Promise<RouteServer> {
  const handlers = Object.fromEntries(
    Object.keys(routes).map((name) => [
      name,
      async () => {
        ran.push(name);
        return answers[name as keyof typeof answers];
      },
    ]),
  );
  const server = await serveRoutes(
    {
      routes,
      handlers: handlers,
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

beforeAll(async () => {
  test = await startTestSigner();
  authority = new IdentityAuthority({ signer: test.signer, store: new MemoryIdentityStore(), now: Date.now });
  workloadServer = await serve(workloadRoutes, { kind: 'control-plane', replica: 'local' }, 'requested');
  brokerServer = await serve(secretRoutes, { kind: 'secret-broker' }, 'required');
  for (const [name, workload] of callers) if (workload !== null) sources.set(name, await sourceOf(workload));
});
afterAll(async () => {
  for (const close of closers.reverse()) await close();
  await test.close();
});

interface Answer {
  readonly status: number;
  readonly code: string | null;
}

/** `no-connection`: the peer was refused before a request. */
async function ask(
  server: RouteServer,
  caller: string,
  route: Pick<Route, 'method' | 'path'>,
  session: string,
  body: unknown,
): Promise<Answer | 'no-connection'> {
  const source = sources.get(caller);
  const path = route.path.replace(':session', session).replace(/:[a-z]+/g, 'one');
  const outgoing = request({
    host: server.host,
    port: server.port,
    method: route.method,
    path,
    ...(source === undefined
      ? {
          ca: (sources.get('sidecar') as SvidSource).current().bundlePem,
          checkServerIdentity: () => undefined,
          agent: false,
        }
      : { agent: new IdentityAgent(source, () => true) }),
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
  });
  try {
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const parsed = JSON.parse(text) as { error?: { code?: string } };
    return { status: response.statusCode ?? 0, code: parsed.error?.code ?? null };
  } catch {
    return 'no-connection';
  }
}

/** What the registry says, worked out apart from the guard. */
function expected(route: Route, caller: string, named: string | null): Answer {
  const workload = workloads[caller] ?? null;
  const kind = workload === null ? 'anonymous' : workload.kind;
  if (!route.callers.includes(kind as CallerKind)) return { status: 403, code: 'GB_CALLER_REFUSED' };
  if (route.owner === 'caller-session' && named !== null) {
    const session =
      workload === null ? undefined : sessionOf(identityOf(spiffeId(defaultTrustDomain, workload)));
    if (session !== named) return { status: 403, code: 'GB_CALLER_MISMATCH' };
  }
  return { status: 200, code: null };
}

describe.each([
  ['workload API', workloadRoutes, () => workloadServer, 'requested'],
  ['secret broker', secretRoutes, () => brokerServer, 'required'],
] as const)('the %s, over mutual TLS', (_place, routes, server, certificate) => {
  const table = (Object.entries(routes) as [keyof typeof bodies, Route][]).flatMap(([name, route]) =>
    callers.flatMap(([caller]) =>
      (route.path.includes(':session') ? [own, foreign] : [null]).map(
        (session) =>
          [
            name,
            caller,
            session === null ? 'no object' : session === own ? 'own' : 'foreign',
            session,
            route,
          ] as const,
      ),
    ),
  );
  it.each(table)('[R2] [R3] %s by %s, %s object', async (name, caller, _object, session, route) => {
    ran = [];
    const answer = await ask(server(), caller, route, session ?? '', bodies[name]);
    if (certificate === 'required' && (workloads[caller] ?? null) === null) {
      expect(answer).toBe('no-connection');
      expect(ran).toEqual([]);
      return;
    }
    const wanted = expected(route, caller, session);
    expect(answer).toEqual(wanted);
    expect(ran).toEqual(wanted.status === 200 ? [name] : []);
    if (wanted.status === 403) expect(refusals.at(-1)).toBe(name);
  });

  it('[R3] some caller is permitted and some refused on every route', () => {
    for (const [name, caller, , session, route] of table) {
      const all = table
        .filter(([other]) => other === name)
        .map((one) => expected(route, one[1], one[3]).status);
      expect(new Set(all), `${name} ${caller} ${String(session)}`).toEqual(new Set([200, 403]));
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
  it.each(elsewhere)('[R3] %s exists for nobody who comes with a certificate', async (_name, route) => {
    for (const server of [workloadServer, brokerServer])
      for (const [caller, workload] of callers) {
        if (workload === null && server === brokerServer) continue;
        expect(await ask(server, caller, route, own, undefined), caller).toMatchObject({ status: 404 });
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

  it('[R3] what a person may list or change no workload may', () => {
    const workload = Object.keys({ ...workloadRoutes, ...secretRoutes });
    for (const name of ['listSandboxPolicies', 'getSandboxPolicyStatus', 'getSandboxLogs']) {
      expect(Object.keys(operatorRoutes)).toContain(name);
      expect(workload).not.toContain(name);
    }
    for (const [name, route] of Object.entries<Route>({ ...workloadRoutes, ...secretRoutes }))
      if (route.callers.includes('sandbox')) throw new Error(`${name} is open to a sandbox`);
  });
});

const shape = (path: string): string => path.replace(/:[a-z]+/gi, ':');
