// node --import tsx bench/bus.ts [--rounds N]
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { auditSubject, eventsSubject } from '../pure/contracts/index.ts';
import { BusConnection, ensureAuditStream, publishIntent, type Svid } from '../trusted/bus/index.ts';
import {
  identityFor,
  natsServerPath,
  newMessageId,
  newSessionId,
  startTestBus,
  type TestBus,
} from '../trusted/bus/testing.ts';
import { median, pairedRatio, quantile, table } from './figures.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } });
const rounds = Number(values.rounds);
const [connections, records, lanes] = [64, 320, 8];

/** The same server and the same TLS, without callout, permissions and fsync. */
async function bareServer(svid: Svid): Promise<{ readonly port: number; stop(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'gb-bench-nats-'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const tls = {
    cert_file: file('cert', svid.chainPem),
    key_file: file('key', svid.keyPem),
    ca_file: file('ca', svid.bundlePem),
    verify: true,
    handshake_first: true,
    min_version: '1.3',
  };
  const config = { host: '127.0.0.1', port: -1, tls, jetstream: { store_dir: folder } };
  const child = spawn(natsServerPath, ['-c', file('conf', JSON.stringify(config))], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface({ input: child.stderr })) {
    const port = /client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stderr.resume();
    const stop = (): void => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    };
    return { port: Number(port), stop };
  }
  throw new Error('nats-server did not start');
}

function dialBare(port: number, svid: Svid): Promise<NatsConnection> {
  const tls = {
    handshakeFirst: true,
    key: svid.keyPem,
    cert: svid.chainPem,
    ca: svid.bundlePem,
    checkServerIdentity: () => undefined,
  };
  return connect({ servers: `127.0.0.1:${String(port)}`, tls });
}

/** Of each, how long it took; and how many a second all together. */
async function inLanes(
  count: number,
  work: () => Promise<unknown>,
): Promise<{ each: number[]; perSecond: number }> {
  const each: number[] = [];
  let left = count;
  const began = performance.now();
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const from = performance.now();
      await work();
      each.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return { each, perSecond: (count * 1000) / (performance.now() - began) };
}

type Contender = () => Promise<{ each: number[]; perSecond: number }>;

async function compare(title: string, contenders: Readonly<Record<string, Contender>>): Promise<string> {
  const names = Object.keys(contenders);
  const seen = new Map(names.map((name) => [name, { each: [] as number[], perSecond: [] as number[] }]));
  for (let round = 0; round <= rounds; round += 1) {
    for (let turn = 0; turn < names.length; turn += 1) {
      const name = names[(turn + round) % names.length] ?? '';
      const { each, perSecond } = (await contenders[name]?.()) ?? { each: [], perSecond: 0 };
      // The first round warms up.
      if (round > 0) {
        seen.get(name)?.each.push(...each);
        seen.get(name)?.perSecond.push(perSecond);
      }
    }
  }
  const bare = seen.get(names[0] ?? '')?.perSecond ?? [];
  const rows = [...seen].map(([name, { each, perSecond }]) => [
    name,
    median(perSecond).toFixed(0),
    `${median(each).toFixed(1)} ms`,
    `${quantile(each, 0.95).toFixed(1)} ms`,
    `${pairedRatio(bare, perSecond).toFixed(2)}×`,
  ]);
  return table([title, 'a second', 'median', '95 of 100 within', 'to bare'], rows);
}

async function admission(bus: TestBus, port: number): Promise<string> {
  // Of 64 sidecars, made before: certificates are another figure, and one identity has few connections.
  const sidecars = await Promise.all(
    Array.from({ length: connections }, async () => {
      const workload = { kind: 'sidecar', session: newSessionId() } as const;
      return { svid: await bus.ca.issue(workload), identity: identityFor(workload) };
    }),
  );
  let turn = 0;
  const next = () => sidecars[(turn += 1) % connections] ?? never();
  return compare(`connections, ${String(lanes)} at a time`, {
    'TLS only': () => inLanes(connections, async () => await (await dialBare(port, next().svid)).close()),
    'with the callout': () =>
      inLanes(connections, async () => {
        await (await BusConnection.connect({ address: bus.server, ...next() })).abort();
      }),
  });
}

function never(): never {
  throw new Error('no certificate');
}

async function publishing(bus: TestBus, port: number): Promise<string> {
  const session = newSessionId();
  const controlPlane = await bus.connect({ kind: 'control-plane', replica: 'main' });
  await ensureAuditStream(controlPlane);
  const sidecar = await bus.connect({ kind: 'sidecar', session });
  const bare = await dialBare(port, await bus.ca.issue({ kind: 'sidecar', session }));
  await (
    await jetstreamManager(bare)
  ).streams.add({ name: 'BARE', subjects: ['bare'], storage: StorageType.File });
  const record = Buffer.alloc(600, 'x');
  return compare(`publications of 600 bytes, ${String(lanes)} at a time`, {
    'JetStream without fsync': () => inLanes(records, () => jetstream(bare).publish('bare', record)),
    'a record that is waited for': () =>
      inLanes(records, () =>
        publishIntent(sidecar, auditSubject(session, 'sidecar'), record, { newMessageId }),
      ),
    'the same connection without the wait': () =>
      inLanes(records, () => sidecar.publish(eventsSubject(session), record)),
  });
}

const bus = await startTestBus();
const bare = await bareServer(await bus.ca.issue({ kind: 'bus', server: 'bare' }));
try {
  process.stdout.write(`\n${await admission(bus, bare.port)}\n`);
  process.stdout.write(`\n${await publishing(bus, bare.port)}\n`);
} finally {
  bare.stop();
  await bus.close();
}
process.exit(0);
