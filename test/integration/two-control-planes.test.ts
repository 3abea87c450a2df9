import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultTrustDomain, spiffeId } from '../../pure/contracts/index.ts';
import { verifyExport } from '../../pure/verify/index.ts';
import { dist } from '../../tools/setup/paths.mjs';
import { NatsServer } from '../../trusted/bus/index.ts';
import { natsServerPath } from '../../trusted/bus/testing.ts';
import { newKeyRequest } from '../../trusted/identity/index.ts';
import { SignerClient } from '../../trusted/signer/index.ts';
import { startPostgres, type PostgresServer } from '../../trusted/store/testing.ts';
import { ControlPlaneWorld, until } from './control-plane-world.ts';
import { newId } from './sidecar-world.ts';

/** Asks for what nobody gave it, again and again: each refusal is a record that goes over the bus. */
const agent = `
import os, time, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    request = urllib.request.Request(os.environ['GLOVEBOX_URL'] + '/v1/events', b'{"kind":"progress","text":"on"}', {'content-type': 'application/json'})
    try:
        direct.open(request, timeout=60).read()
        print('ok', flush=True)
    except Exception as error:
        print('failed', error, flush=True)
    time.sleep(0.2)
`;

const folder = mkdtempSync(join(tmpdir(), 'glovebox-replicas-'));
const keys = join(folder, 'keys');
let server: PostgresServer;
let bus: NatsServer;
let signer: SignerClient;
const worlds = { a: new ControlPlaneWorld(), b: new ControlPlaneWorld() };
type Name = keyof typeof worlds;

/** What a person keeps beside both: the database, the keys, and a bus that neither of them started. */
beforeAll(async () => {
  server = await startPostgres();
  const store = await server.database();
  signer = await SignerClient.start({
    entry: join(dist, 'signer.js'),
    keysFolder: keys,
    trustDomain: defaultTrustDomain,
  });
  const { keyPem, csrPem } = await newKeyRequest();
  const id = spiffeId(defaultTrustDomain, { kind: 'bus', server: 'shared' });
  const { chainPem } = await signer.issueSvid({
    csrPem,
    spiffeId: id,
    ttlSeconds: 300,
    dnsNames: ['localhost'],
  });
  bus = await NatsServer.start({
    binary: natsServerPath,
    folder: join(folder, 'nats'),
    name: 'shared',
    trustDomain: defaultTrustDomain,
    keys: await signer.busKeys(),
    svid: { keyPem, chainPem, bundlePem: await signer.bundle() },
  });
  const installation = newId();
  for (const [name, world] of Object.entries(worlds)) {
    mkdirSync(world.state, { recursive: true, mode: 0o700 });
    writeFileSync(join(world.state, 'INSTALLATION'), `${installation}\n`, { mode: 0o600 });
    writeFileSync(join(world.state, 'store.json'), JSON.stringify(store), { mode: 0o600 });
    writeFileSync(join(world.workspace, 'agent.py'), agent);
    world.shared = join(world.folder, 'shared.json');
    writeFileSync(
      world.shared,
      JSON.stringify({ replica: name, keys, bus: { host: bus.host, port: bus.port } }),
    );
    await world.start();
    await world.waiveWhatIsMissing();
  }
});
afterAll(async () => {
  // What one that was killed left mounted, its next start takes away.
  if (worlds.b.pid !== 0) await worlds.b.start();
  for (const world of Object.values(worlds)) await world.close();
  await bus.stop();
  await signer.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const words = async (of: Name, id: string, word: string): Promise<number> =>
  String((await worlds[of].call('GET', `/v1/sessions/${id}/logs`)).body)
    .split('\n')
    .filter((line) => line.startsWith(word)).length;
const goesOn = async (of: Name, id: string): Promise<void> => {
  const before = await words(of, id, 'ok');
  await until(async () => (await words(of, id, 'ok')) > before + 2);
};
const works = async (of: Name): Promise<string> => {
  const { id } = await worlds[of].run(['python3', '/workspace/agent.py']);
  await goesOn(of, id);
  return id;
};
const runs = async (of: Name): Promise<void> => {
  const { id } = await worlds[of].run(['sh', '-c', 'exit 4']);
  expect(await worlds[of].untilState(id, 'ended')).toMatchObject({ reason: 'exited', exitCode: 4 });
};
const endedByTheOther = async (other: Name, id: string): Promise<void> => {
  await until(async () => (await worlds[other].session(id))['state'] === 'ended');
  expect(await worlds[other].session(id)).toMatchObject({ reason: 'daemon-died', changes: 'kept' });
};

describe('two control planes of one installation: one PostgreSQL, one bus, one CA', () => {
  let [first, second] = ['', ''];

  it('[R4] each sees the other’s sessions, and a gateway that is revoked at one ends at the other', async () => {
    [first, second] = [await works('a'), await works('b')];
    expect(await worlds.b.session(first)).toMatchObject({ state: 'running' });
    const victim = await works('a');
    const identity = `spiffe://glovebox.local/session/${victim}/sidecar`;
    await worlds.b.call('POST', '/v1/ca/revoke', { identity });
    expect(await worlds.a.untilState(victim, 'ended')).toMatchObject({ reason: 'sidecar-died' });
    await goesOn('a', first);
  }, 90_000);

  it('[R46] kill -9 of the first: the second goes on, ends what it left, and writes the trail', async () => {
    await worlds.a.kill('SIGKILL');
    await endedByTheOther('b', first);
    await goesOn('b', second);
    await runs('b');
  }, 90_000);

  it('[R46] [R41] the first again, kill -9 of the second: the first goes on, and the trail verifies over both', async () => {
    await worlds.a.start();
    const third = await works('a');
    await worlds.b.kill('SIGKILL');
    await endedByTheOther('a', second);
    await goesOn('a', third);
    await runs('a');
    expect(await words('a', third, 'failed')).toBe(0);
    const { body } = await worlds.a.call('GET', '/v1/audit/export');
    const verified = await verifyExport(String(body).split('\n').filter(Boolean), await signer.publicKeys());
    expect(verified).toMatchObject({ ok: true });
  }, 120_000);
});
