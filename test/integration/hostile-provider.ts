import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { lookup } from 'node:dns/promises';
import { request } from 'node:https';
import { networkInterfaces } from 'node:os';
import { connect, PermissionViolationError } from '@nats-io/transport-node';
import { workloadRoutes } from '../../pure/contracts/index.ts';
import { checkSpiffePeer, join, renew, type Svid } from '../../untrusted/provider-sdk/identity.ts';
import { readBootstrap } from '../../untrusted/provider-sdk/index.ts';

/**
 * A provider that the attacker has written: it has what every provider has, tries what it must not, and writes down what came
 * of it, into the folder that it may write to. Bundled and started in place of the files provider.
 */
export interface Task {
  readonly victim: string;
  readonly token: string;
  readonly ports: readonly number[];
  readonly addresses: readonly string[];
}

export interface Result {
  readonly refused: readonly string[];
  readonly taken: readonly string[];
  readonly routes: Readonly<Record<string, string>>;
  readonly open: readonly number[];
  readonly outside: Readonly<Record<string, string>>;
  readonly interfaces: readonly string[];
  readonly lookup: string;
  readonly environment: readonly string[];
}

const bootstrap = readBootstrap();
const box = '/folders/box';
const task = JSON.parse(readFileSync(`${box}/task.json`, 'utf8')) as Task;
const endpoint = { ...bootstrap.workloadApi, trustDomain: bootstrap.trustDomain };
const svid = await join(endpoint, bootstrap.bundlePem, bootstrap.joinToken);

async function onTheBus(): Promise<{ refused: string[]; taken: string[] }> {
  const { victim, token } = task;
  const session = `gb.session.${victim}`;
  const publish = [
    ...[`gb.provider.graph.read.${victim}`, `gb.provider.files.read.${victim}`],
    ...['input', 'control', 'events', 'presence'].map((name) => `${session}.${name}`),
    ...[`gb.audit.${victim}.sidecar`, 'gb.audit.system.control-plane'],
    ...[
      'STREAM.CREATE.AUDIT',
      'STREAM.PURGE.AUDIT',
      'STREAM.MSG.GET.AUDIT',
      'STREAM.DELETE.AUDIT',
      'INFO',
    ].map((name) => `$JS.API.${name}`),
    ...['$SYS.REQ.SERVER.PING', '$SYS.REQ.USER.AUTH'],
    ...[`_INBOX.sidecar.${victim}.reply.graph.${token}`, `_INBOX.sidecar.${victim}.x`],
    ...['_INBOX.provider.graph.main.x', '_INBOX.control-plane.main.x', '_INBOX.secret-broker.x'],
    // The control: where this provider answers.
    `_INBOX.sidecar.${victim}.reply.files.${token}`,
  ];
  const subscribe: readonly (readonly [string, string?])[] = [
    ...([
      ['gb.provider.graph.*.*', 'graph'],
      ['gb.provider.graph.*.*'],
      ['gb.provider.*.*.*', 'files'],
    ] as const),
    ...([['gb.provider.files.*.*'], ['gb.provider.files.*.*', 'graph']] as const),
    ...([[`${session}.input`], [`${session}.events`], ['gb.session.*.events'], ['gb.audit.>']] as const),
    ...([['>'], ['_INBOX.>'], [`_INBOX.sidecar.${victim}.>`], ['_INBOX.provider.graph.main.>']] as const),
    ...([['$JS.EVENT.>'], ['$SYS.>'], ['$JS.API.>']] as const),
    // The controls: its own domain in its own queue group, and its own inbox.
    ...([['gb.provider.files.*.*', 'files'], ['_INBOX.provider.files.main.>']] as const),
  ];
  const name = (operation: string, subject: string, queue?: string): string =>
    `${operation} ${subject}${queue === undefined ? '' : ` ${queue}`}`
      .replaceAll(victim, 'VICTIM')
      .replaceAll(token, 'TOKEN');
  const refused = new Set<string>();
  const tls = {
    handshakeFirst: true,
    ca: svid.bundlePem,
    cert: svid.chainPem,
    key: svid.keyPem,
    checkServerIdentity: checkSpiffePeer(`spiffe://${bootstrap.trustDomain}/bus/`),
  };
  const connection = await connect({
    servers: `${bootstrap.bus.host}:${String(bootstrap.bus.port)}`,
    inboxPrefix: '_INBOX.provider.files.main',
    reconnect: false,
    tls,
  });
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue;
      const { operation, subject, queue } = status.error;
      refused.add(name(operation === 'publish' ? 'publish' : 'subscribe', subject, queue));
    }
  })();
  for (const subject of publish) {
    connection.publish(subject, 'from the attacker', { reply: `${session}.input` });
    connection.publish(subject, 'from the attacker');
    await connection.flush();
  }
  for (const [subject, queue] of subscribe) {
    connection.subscribe(subject, { ...(queue === undefined ? {} : { queue }), callback: () => undefined });
    await connection.flush();
  }
  await connection.flush();
  const all = [
    ...publish.map((subject) => name('publish', subject)),
    ...subscribe.map((one) => name('subscribe', ...one)),
  ];
  return { refused: all.filter((one) => refused.has(one)), taken: all.filter((one) => !refused.has(one)) };
}

/** Every route of the registry, well-formed, with this provider's certificate. */
async function onTheWorkloadApi(current: Svid): Promise<Record<string, string>> {
  const answers: Record<string, string> = {};
  for (const [name, route] of Object.entries(workloadRoutes)) {
    if (name === 'renew') continue;
    const path = route.path.replace(':session', task.victim);
    answers[name] = await call(current, route.method, path);
  }
  const renewed = await renew(endpoint, current).then(
    () => '200',
    (error: unknown) => String(error),
  );
  return { ...answers, renew: renewed };
}

const call = (current: Svid, method: string, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { host, port } = bootstrap.workloadApi;
    const tls = { ca: current.bundlePem, cert: current.chainPem, key: current.keyPem };
    const checkServerIdentity = checkSpiffePeer(`spiffe://${bootstrap.trustDomain}/control-plane/`);
    const headers = { 'content-type': 'application/json' };
    const outgoing = request({
      host,
      port,
      path,
      method,
      agent: false,
      headers,
      checkServerIdentity,
      ...tls,
    });
    outgoing.on('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        const body = JSON.parse(text) as { error?: { code?: string } };
        resolve(`${String(response.statusCode)} ${body.error?.code ?? ''}`);
      });
    });
    outgoing.on('error', reject);
    outgoing.end(method === 'GET' ? '' : '{}');
  });

const reach = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connectTcp({ host, port, timeout: 3000 });
    const done = (answer: string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done('open'));
    socket.once('timeout', () => done('timeout'));
    socket.once('error', (error) => done('code' in error ? String(error.code) : error.message));
  });

/** Every port of the loopback. */
async function openPorts(): Promise<number[]> {
  const open: number[] = [];
  for (let first = 1; first <= 65535; first += 256) {
    const ports = Array.from({ length: Math.min(256, 65536 - first) }, (_, index) => first + index);
    const answers = await Promise.all(ports.map((port) => reach('127.0.0.1', port)));
    open.push(...ports.filter((_, index) => answers[index] === 'open'));
  }
  return open;
}

const outside: Record<string, string> = {};
for (const address of task.addresses)
  for (const port of task.ports) outside[`${address} ${String(port)}`] = await reach(address, port);
const result: Result = {
  ...(await onTheBus()),
  routes: await onTheWorkloadApi(svid),
  open: await openPorts(),
  outside,
  interfaces: Object.keys(networkInterfaces()),
  lookup: await lookup('localhost.example.com').then(
    () => 'found',
    (error: unknown) => String((error as { code?: unknown }).code),
  ),
  environment: Object.keys(process.env).sort(),
};
writeFileSync(`${box}/result.new`, JSON.stringify(result));
renameSync(`${box}/result.new`, `${box}/result.json`);
setInterval(() => undefined, 1 << 30);
