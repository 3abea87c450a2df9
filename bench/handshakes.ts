// node --import tsx bench/handshakes.ts [--rounds N]
// Mutual TLS 1.3 handshakes per second: a server of ours (identity, registry of connections, revocation) against a bare node:tls
// server with the same certificates, in turns, client and server in one process.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { parseArgs } from 'node:util';
import { defaultTrustDomain, secretRoutes, spiffeId, type Workload } from '../pure/contracts/index.ts';
import {
  clientTlsOptions,
  ConnectionRegistry,
  IdentityAuthority,
  MemoryIdentityStore,
  serverTlsOptions,
  SvidSource,
  systemClock,
} from '../trusted/identity/index.ts';
import { startTestSigner } from '../trusted/signer/testing.ts';
import { RequestRate, serveRoutes } from '../trusted/workload-http/index.ts';
import { median, pairedRatio, quantile, table, times } from './figures.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const rounds = Number(values.rounds);
const handshakes = 100;
const atOnce = 4;

const test = await startTestSigner();
const authority = new IdentityAuthority({
  signer: test.signer,
  store: new MemoryIdentityStore(),
  now: Date.now,
});
async function sourceOf(workload: Workload): Promise<SvidSource> {
  const id = spiffeId(defaultTrustDomain, workload);
  const issue = (csr: string): ReturnType<IdentityAuthority['issueOwn']> => authority.issueOwn(id, csr);
  return await SvidSource.start({ issue, renew: issue, expectedId: id });
}
const own = await sourceOf({ kind: 'control-plane', replica: 'local' });
const client = await sourceOf({ kind: 'provider', domain: 'files', name: 'main' });

const bare = createServer(serverTlsOptions(own), (socket) => socket.end());
bare.listen(0, '127.0.0.1');
await once(bare, 'listening');
const unused = (): Promise<never> => Promise.reject(new Error('only connected to'));
const ours = await serveRoutes(
  {
    routes: secretRoutes,
    handlers: {
      sealingKey: unused,
      listSecrets: unused,
      putSecret: unused,
      removeSecret: unused,
      readSecret: unused,
      signRequest: unused,
    },
    identity: own,
    trustDomain: defaultTrustDomain,
    clientCertificate: 'required',
    connections: new ConnectionRegistry(systemClock),
    rate: new RequestRate('secretRate', 1_000_000, Date.now),
    now: Date.now,
    onRefused: () => undefined,
    onError: (error) => console.error(error),
  },
  0,
);

/** Per second: from the first byte until the client has verified the server, `atOnce` at a time. */
async function rate(port: number): Promise<number> {
  const began = performance.now();
  let left = handshakes;
  const one = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const socket = connect({ host: '127.0.0.1', port, ...clientTlsOptions(client, () => true) });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      socket.destroy();
      await once(socket, 'close');
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return (handshakes / (performance.now() - began)) * 1000;
}

const contenders = [
  { name: 'bare node:tls', port: (bare.address() as AddressInfo).port },
  { name: 'a server of ours', port: ours.port },
];
const found: number[][] = contenders.map(() => []);
for (let round = -1; round < rounds; round += 1) {
  const order = round % 2 === 0 ? [0, 1] : [1, 0];
  for (const index of order) {
    const value = await rate(contenders[index]?.port ?? 0);
    // The first round warms both.
    if (round >= 0) found[index]?.push(value);
  }
}
const whole = (value: number): string => value.toFixed(0);
process.stdout.write(
  `${table(
    [
      `mutual TLS 1.3, ${rounds} rounds of ${handshakes}, ${atOnce} at once`,
      'handshakes/s',
      'middle half',
      'to bare',
    ],
    contenders.map(({ name }, index) => {
      const all = found[index] ?? [];
      return [
        name,
        whole(median(all)),
        `${whole(quantile(all, 0.25))} to ${whole(quantile(all, 0.75))}`,
        index === 0 ? '' : times(pairedRatio(all, found[0] ?? [])),
      ];
    }),
  )}\n`,
);
bare.close();
await ours.close();
own.close();
client.close();
await test.close();
