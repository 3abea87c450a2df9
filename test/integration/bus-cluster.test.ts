import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  auditSubject,
  defaultTrustDomain,
  providerSubject,
  providerSubscription,
  type SessionId,
  type Workload,
} from '../../pure/contracts/index.ts';
import {
  AuthCallout,
  BusConnection,
  busOperators,
  busRoutes,
  ensureAuditStream,
  NatsServer,
  publishIntent,
  readStream,
} from '../../trusted/bus/index.ts';
import {
  createTestCa,
  identityFor,
  natsServerPath,
  newMessageId,
  newSessionId,
  type TestCa,
} from '../../trusted/bus/testing.ts';
import {
  authorizerPublicKeys,
  createAuthorizer,
  createAuthorizerKeys,
} from '../../trusted/bus-authorizer/index.ts';

/** Three servers on the loopback, JetStream on all three, mutual TLS between them by an identity of their own. */
const names = ['one', 'two', 'three'] as const;
const folder = mkdtempSync(join(tmpdir(), 'glovebox-cluster-'));
const keys = createAuthorizerKeys();
const authorizer = createAuthorizer({
  keys,
  trustDomain: defaultTrustDomain,
  isRevoked: () => false,
  now: () => new Date(),
});
let ca: TestCa;
let routes: readonly number[];
const servers: NatsServer[] = [];
const callouts: AuthCallout[] = [];
const open: BusConnection[] = [];

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

async function startServer(index: number, port?: number): Promise<NatsServer> {
  const name = names[index] ?? '';
  return await NatsServer.start({
    binary: natsServerPath,
    folder: join(folder, name),
    name,
    ...(port === undefined ? {} : { port }),
    trustDomain: defaultTrustDomain,
    keys: authorizerPublicKeys(keys),
    svid: await ca.issue({ kind: 'bus', server: name }),
    cluster: {
      name: 'test',
      host: 'localhost',
      port: routes[index] ?? 0,
      routes: routes
        .filter((_, other) => other !== index)
        .map((other) => ({ host: 'localhost', port: other })),
      svid: await routeSvid(),
    },
  });
}
const routeSvid = () =>
  ca.issue(busRoutes, {
    names: [
      { type: 'url', value: identityFor(busRoutes).id },
      { type: 'dns', value: 'localhost' },
    ],
  });

async function connect(workload: Workload): Promise<BusConnection> {
  const svid = await ca.issue(workload);
  const connection = await BusConnection.connect({ address: servers, svid, identity: identityFor(workload) });
  open.push(connection);
  return connection;
}

/** How long a cluster may take to agree on a leader where the disk is slow, in milliseconds. */
const patience = 120_000;
let controlPlane: BusConnection;
beforeAll(async () => {
  ca = await createTestCa();
  routes = await Promise.all(names.map(freePort));
  servers.push(...(await Promise.all(names.map((_, index) => startServer(index)))));
  const system = await ca.issue(busOperators.system);
  for (let replica = 0; replica < 2; replica += 1) {
    callouts.push(
      await AuthCallout.serve({
        address: servers,
        svid: await ca.issue(busOperators.callout),
        system: () => system,
        trustDomain: defaultTrustDomain,
        authorizer,
      }),
    );
  }
  controlPlane = await connect({ kind: 'control-plane', replica: 'main' });
  await ensureAuditStream(controlPlane, 0, names.length);
});
afterAll(async () => {
  await Promise.all(open.map((connection) => connection.abort()));
  await Promise.all(callouts.map((callout) => callout.close()));
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

interface StreamInfo {
  readonly state: { readonly last_seq: number };
  readonly cluster: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly current: boolean }[];
  };
}
const streamInfo = async (): Promise<StreamInfo> =>
  (await controlPlane.request('$JS.API.STREAM.INFO.AUDIT', '', { timeoutMs: 2000 })).json<StreamInfo>();

it('[R12] a route is made with the certificate of routes and with no other of the same CA', async () => {
  const attempt = async (workload: Workload): Promise<string> => {
    const svid = await ca.issue(workload);
    const socket = connectTls({
      host: '127.0.0.1',
      port: routes[0],
      key: svid.keyPem,
      cert: svid.chainPem,
      ca: svid.bundlePem,
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => undefined);
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    await once(socket, 'secureConnect');
    socket.write(
      'CONNECT {"verbose":false,"name":"intruder","server_id":"NINTRUDER","cluster":"test","headers":true}\r\n',
    );
    socket.write(
      'INFO {"server_id":"NINTRUDER","server_name":"intruder","cluster":"test","version":"2.15.2","headers":true,"proto":1}\r\nPING\r\n',
    );
    await Promise.race([once(socket, 'close'), expect.poll(() => got, { timeout: 5000 }).toMatch(/PONG/)]);
    socket.destroy();
    return got;
  };
  for (const workload of [
    { kind: 'control-plane', replica: 'main' },
    { kind: 'provider', domain: 'graph', name: 'one' },
    { kind: 'sidecar', session: newSessionId() },
    { kind: 'bus', server: 'one' },
    busOperators.system,
  ] satisfies Workload[]) {
    const got = await attempt(workload);
    expect(got, workload.kind).toMatch(/Authorization Violation/);
    expect(got).not.toMatch(/PONG/);
  }
  expect(await attempt(busRoutes)).toMatch(/PONG/);
});

it('[R42] one server after the other dies under load: no record is lost, no operation runs twice', async () => {
  const executed = new Map<string, number>();
  const { pattern, queue } = providerSubscription('graph');
  for (const name of ['one', 'two']) {
    const provider = await connect({ kind: 'provider', domain: 'graph', name });
    await provider.subscribe(
      pattern,
      (message) => {
        executed.set(message.string(), (executed.get(message.string()) ?? 0) + 1);
        message.respond('done');
      },
      { queue },
    );
  }
  const session: SessionId = newSessionId();
  const sidecar = await connect({ kind: 'sidecar', session });
  const tally = { answered: new Set<string>(), recorded: new Set<string>(), unknown: 0, refused: 0 };
  const run = { stop: false };
  const record = async (kind: string, id: string): Promise<void> => {
    const bytes = Buffer.from(JSON.stringify({ kind, id }));
    await publishIntent(sidecar, auditSubject(session, 'sidecar'), bytes, { newMessageId });
    tally.recorded.add(`${kind} ${id}`);
  };
  const operate = async (): Promise<void> => {
    while (!run.stop) {
      const id = newMessageId();
      const intended = await record('intent', id).then(
        () => true,
        () => false,
      );
      // Without a record nothing happens.
      if (!intended) tally.refused += 1;
      else {
        const known = await sidecar
          .request(providerSubject('graph', 'write', session), id, { timeoutMs: 3000 })
          .then(
            () => true,
            () => false,
          );
        if (known) tally.answered.add(id);
        else tally.unknown += 1;
        await record(known ? 'outcome' : 'unknown', id).catch(() => (tally.refused += 1));
      }
    }
  };
  const workers = Array.from({ length: 4 }, operate);
  const more = async (count: number): Promise<void> => {
    const from = tally.answered.size;
    await expect.poll(() => tally.answered.size - from, { timeout: patience }).toBeGreaterThan(count);
  };
  try {
    await more(20);
    for (const [index, server] of [...servers.entries()]) {
      process.kill(server.pid ?? 0, 'SIGKILL');
      await server.exited;
      await more(20);
      servers[index] = await startServer(index, server.port);
      await expect
        .poll(
          () =>
            streamInfo().then(
              ({ cluster }) => (cluster.replicas ?? []).filter(({ current }) => current).length,
              () => 0,
            ),
          { timeout: patience },
        )
        .toBe(2);
    }
  } finally {
    run.stop = true;
    await Promise.all(workers);
  }
  const stored = new Set<string>();
  // As the writer of the trail reads it: from where it got to, again when the bus has no leader at the moment.
  let next = 1;
  const read = async (): Promise<boolean> => {
    const { state } = await streamInfo();
    const ended = new AbortController();
    const take = ({ data, sequence }: { data: Uint8Array; sequence: number }): void => {
      const { kind, id } = JSON.parse(Buffer.from(data).toString()) as { kind: string; id: string };
      stored.add(`${kind} ${id}`);
      next = sequence + 1;
      if (next > state.last_seq) ended.abort();
    };
    await readStream(controlPlane, next, take, ended.signal);
    return next > state.last_seq;
  };
  await expect.poll(() => read().catch(() => false), { timeout: patience }).toBe(true);
  expect([...tally.recorded].filter((name) => !stored.has(name))).toEqual([]);
  expect([...executed.keys()].filter((id) => !stored.has(`intent ${id}`))).toEqual([]);
  expect([...executed.values()].filter((count) => count !== 1)).toEqual([]);
  expect([...tally.answered].filter((id) => !executed.has(id))).toEqual([]);
}, 480_000);
