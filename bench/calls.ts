import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { build } from 'esbuild';
import { jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { attach } from '../operator/client/index.ts';
import type { Bare } from './bare.ts';
import { median, ms, pairedRatio, quantile, table, times } from './figures.ts';
import { Linked } from './linked.ts';
import { thisCheckout, type Machine } from './machine.ts';

/** Asks a program that answers each line with one. */
type Ask = (line: string) => Promise<string>;

const batch = 20;
const readAll = { file: 'bench', text: "version: 1\ntools:\n  allow: ['files:read:/**']\n" };

/**
 * Two things to compare with: the hops alone, and the hops with what any such system has at their two ends, an HTTP request by the
 * agent and a file that is read. Neither has TLS, identity, policy, schemas or a record of the outcome: those are what Glovebox adds.
 */
export async function callsPart(
  bare: Bare,
  machines: readonly { readonly name: string; readonly machine: Machine }[],
  rounds: number,
): Promise<string> {
  const [first] = machines;
  if (first === undefined) throw new Error('no machine');
  const { machine } = first;
  const closing: (() => unknown)[] = [];
  try {
    const kinds: { kind: string; name: string; ask: Ask }[] = [];
    const plain = await plainAgents(bare, machine, closing);
    kinds.push({ kind: 'bare', name: 'the hops bare', ask: plain.line });
    kinds.push({ kind: 'api', name: 'the hops with HTTP and a file', ask: plain.http });
    for (const { name, machine: own } of machines) {
      copyFileSync(join(thisCheckout, 'bench/agent-calls.mjs'), join(own.project, 'agent-calls.mjs'));
      const shared = join(own.home, '.local/share/glovebox/shared');
      mkdirSync(shared, { recursive: true });
      writeFileSync(join(shared, 'hello.txt'), 'hello\n');
      const sealed = await sealedAgent(own, closing);
      kinds.push({ kind: 'api', name: `${name}: files_read, agent API`, ask: sealed });
      kinds.push({ kind: 'mcp', name: `${name}: files_list, MCP`, ask: sealed });
    }
    // Warmed up: compiled, connected, every library loaded.
    for (const { kind, ask } of kinds)
      for (let round = 0; round < 5; round += 1) await ask(`${kind} ${batch}`);
    const all: number[][] = kinds.map(() => []);
    const medians: number[][] = kinds.map(() => []);
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, { kind, ask }] of kinds.entries()) {
        const took = JSON.parse(await ask(`${kind} ${batch}`)) as number[];
        all[index]?.push(...took);
        medians[index]?.push(median(took));
      }
    }
    const rows = kinds.map(({ name }, index) => {
      const took = all[index] ?? [];
      const ratio = (base: number): string =>
        index <= base ? '' : times(pairedRatio(medians[index] ?? [], medians[base] ?? []));
      return [
        name,
        ms(median(took)),
        ms(quantile(took, 0.95)),
        ratio(0),
        ratio(1),
        index < 2 ? '' : '≤ 2.00×',
      ];
    });
    return table(
      ['', 'median', '95 of 100 within', 'to the hops bare', 'to the hops with HTTP and a file', 'aim'],
      rows,
    );
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** The agent in a session of Glovebox. */
async function sealedAgent(machine: Machine, closing: (() => unknown)[]): Promise<Ask> {
  await machine.warm();
  const session = await machine.client.call('createSession', {
    body: machine.request(['node', 'agent-calls.mjs'], { stdin: true, policy: readAll }),
  });
  const attachment = await attach({
    socketPath: machine.client.socketPath,
    sessionId: session.id,
    foreground: true,
  });
  attachment.stdio('stderr').on('data', (chunk: Buffer) => process.stderr.write(chunk));
  const stdin = attachment.stdio('stdin');
  const lines = createInterface({ input: attachment.stdio('stdout') });
  closing.push(async () => {
    attachment.close();
    await machine.client.call('stopSession', { params: { id: session.id } });
  });
  return async (line) => {
    const answer = once(lines, 'line') as Promise<[string]>;
    stdin.write(Buffer.from(`${line}\n`));
    return (await answer)[0];
  };
}

/**
 * The same hops without Glovebox: agent in gVisor → init → link → a synced JetStream publish → a request on the bus → init and
 * link of a second sandbox → its program, and back. No TLS, no policy, no schema, no second record.
 */
async function plainAgents(
  bare: Bare,
  machine: Machine,
  closing: (() => unknown)[],
): Promise<{ readonly line: Ask; readonly http: Ask }> {
  const { nats, port } = await plainBus(machine, closing);
  await (
    await jetstreamManager(nats)
  ).streams.add({ name: 'BENCH', subjects: ['bench.audit'], storage: StorageType.File });
  const program = await build({
    entryPoints: [join(thisCheckout, 'bench/bare-responder.mjs')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: join(machine.project, 'bare-responder.mjs'),
    banner: {
      js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
    },
  });
  if (program.errors.length > 0) throw new Error('the responder was not bundled');
  const responder = new Linked(bare, ['node', 'bare-responder.mjs'], 4222, (connection) => {
    const upstream = dial(port, '127.0.0.1').setNoDelay();
    connection.pipe(upstream).pipe(connection);
    connection.on('error', () => upstream.destroy());
    upstream.on('error', () => connection.destroy());
  });
  closing.push(() => responder.close());
  await responder.line();
  const record = new TextEncoder().encode('r'.repeat(500));
  writeFileSync(join(machine.project, 'hello.txt'), 'hello\n');
  copyFileSync(join(thisCheckout, 'bench/agent-calls.mjs'), join(machine.project, 'agent-calls.mjs'));
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      void (async () => {
        await jetstream(nats).publish('bench.audit', record);
        const { data } = await nats.request('bench.file', Buffer.concat(parts));
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': data.length });
        response.end(data);
      })();
    });
  });
  const http = new Linked(bare, ['node', 'agent-calls.mjs'], 9090, (connection: Duplex) => {
    connection.on('error', () => undefined);
    server.emit('connection', connection);
  });
  closing.push(() => http.close());
  const agent = new Linked(bare, ['node', 'agent-calls.mjs'], 9090, (connection: Duplex) => {
    connection.on('error', () => undefined);
    connection.on('data', (chunk: Buffer) => {
      void (async () => {
        await jetstream(nats).publish('bench.audit', record);
        connection.write((await nats.request('bench.read', chunk)).data);
      })();
    });
  });
  closing.push(() => agent.close());
  return { line: (line) => agent.ask(line), http: (line) => http.ask(line) };
}

/** A nats-server that syncs every record to the disk, as Glovebox's does. */
async function plainBus(
  machine: Machine,
  closing: (() => unknown)[],
): Promise<{ readonly nats: NatsConnection; readonly port: number }> {
  const { natsServer } = JSON.parse(readFileSync(join(thisCheckout, 'dist/tools.json'), 'utf8')) as {
    natsServer: string;
  };
  const folder = join(machine.folder, 'nats');
  mkdirSync(folder);
  const config = `host: 127.0.0.1\nport: -1\nports_file_dir: "${folder}"\njetstream { store_dir: "${folder}/js", sync_interval: always }\n`;
  writeFileSync(join(folder, 'nats.conf'), config);
  const server = spawn(natsServer, ['-c', join(folder, 'nats.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  closing.push(() => server.kill());
  let said = '';
  for await (const chunk of server.stderr as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.includes('Server is ready')) break;
  }
  const port = Number(/client connections on 127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
  const nats = await connect({ servers: `127.0.0.1:${port}` });
  closing.push(async () => await nats.close());
  return { nats, port };
}
