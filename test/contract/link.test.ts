import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isRunning } from '../integration/control-plane-world.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
import { builtInit, collect, GatewayWorld, LinkWorld, startInit, type Started } from './link-world.ts';

// One contract, two ways to make the connection: the same init, the same trusted end.
let signer: TestSigner;
let built: ReturnType<typeof builtInit>;
beforeAll(async () => {
  signer = await startTestSigner();
  built = builtInit();
});
afterAll(async () => {
  await signer.close();
  rmSync(built.folder, { recursive: true, force: true });
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const transports: readonly [string, () => Promise<LinkWorld>][] = [
  [
    'the inherited socket pair',
    async () => {
      const started = startInit(built.init, [], true);
      return new LinkWorld(started, started.child.stdio[3] as Duplex);
    },
  ],
  [
    'TCP with mutual TLS',
    async () => {
      const world = await GatewayWorld.start(GatewayWorld.newAuthority(signer));
      closers.push(() => world.close());
      const started = startInit(built.init, [await world.joinFile(built.folder)], false);
      const link = await orEnded(world.gateway.linked, started, world);
      return new LinkWorld(started, link.socket, link.renewal);
    },
  ],
];

async function orEnded<T>(wanted: Promise<T>, started: Started, world: GatewayWorld): Promise<T> {
  const over = started.ended.then((code) => {
    throw new Error(`init ended with ${String(code)}: ${started.stderr()} ${world.refused.join('; ')}`);
  });
  over.catch(() => undefined);
  return await Promise.race([wanted, over]);
}

describe.each(transports)('a link over %s', (_name, open) => {
  async function linked(): Promise<LinkWorld> {
    const link = await open();
    closers.push(() => link.stop());
    await link.event('hello');
    return link;
  }

  it('starts a command, and tells how it ended', async () => {
    const link = await linked();
    link.start(['sh', '-c', 'echo out; echo err >&2; exit 7']);
    const [out, err] = await Promise.all([
      link.stream('main', 'stdout').then(collect),
      link.stream('main', 'stderr').then(collect),
    ]);
    expect([out.toString(), err.toString()]).toEqual(['out\n', 'err\n']);
    expect(await link.event('exited', 'main')).toMatchObject({ code: 7, signal: null });
    link.start(['/nowhere'], 'second');
    expect(await link.event('failed', 'second')).toMatchObject({ code: 'ENOENT' });
  });

  it('carries 20 MB through a command exactly, both ways at once', async () => {
    const link = await linked();
    const bytes = randomBytes(20 << 20);
    link.start(['cat']);
    const stdin = await link.stream('main', 'stdin');
    const back = collect(await link.stream('main', 'stdout'));
    for (let at = 0; at < bytes.length; at += 1 << 16)
      if (!stdin.write(bytes.subarray(at, at + (1 << 16)))) await once(stdin, 'drain');
    stdin.end();
    expect((await back).equals(bytes)).toBe(true);
  });

  it('gives a terminal its size, its new size and its keys', async () => {
    const link = await linked();
    link.start(['sh', '-c', 'stty size; read line; stty size; exec sleep 1000'], 'main', {
      rows: 31,
      cols: 97,
    });
    const terminal = await link.stream('main', 'terminal');
    await says(terminal, '31 97');
    link.server.send({ type: 'resize', id: 'main', rows: 40, cols: 120 });
    terminal.write(Buffer.from('\r'));
    await says(terminal, '40 120');
    link.server.send({ type: 'signal', id: 'main', signal: 2 });
    expect(await link.event('exited', 'main')).toMatchObject({ signal: 2 });
  });

  it('carries connections of the agent, with half-close', async () => {
    const link = await linked();
    link.onTunnel = (name, connection) => {
      void collect(connection).then((question) =>
        connection.end(Buffer.concat([question, Buffer.from('!')])),
      );
      return name === 'api';
    };
    const port = await freePort();
    link.server.send({ type: 'configure', listen: [{ address: `127.0.0.1:${port}`, tunnel: 'api' }] });
    await link.event('configured');
    const client = connectTcp({ host: '127.0.0.1', port, allowHalfOpen: true });
    client.end(Buffer.from('what'));
    expect((await collect(client)).toString()).toBe('what!');
  });

  it('[R46] silence ends it: an init that was stopped is missed', async () => {
    const link = await linked();
    link.started.child.kill('SIGSTOP');
    for (let second = 0; second < 10; second += 1) link.tick();
    expect(await link.ended).toMatchObject({ reason: 'heartbeat-missed' });
  });

  it('ends on both sides: with the trusted end init and all of its commands go, with init the link', async () => {
    const first = await linked();
    first.start(['sleep', '1000']);
    const { pid } = (await first.event('started', 'main')) as unknown as { pid: number };
    first.server.close();
    expect(await first.started.ended).toBe(1);
    await expect.poll(() => isRunning(pid)).toBe(false);
    const second = await linked();
    second.started.child.kill('SIGKILL');
    expect(await second.ended).toMatchObject({ reason: 'closed' });
  });

  it('ends when init is told to stop', async () => {
    const link = await linked();
    link.server.send({ type: 'stop' });
    expect(await link.started.ended).toBe(0);
  });
});

/** init listens where it is told to, so the test has to know a port before. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function says(stream: Duplex, wanted: string): Promise<void> {
  let text = '';
  await new Promise<void>((done) => {
    const take = (chunk: Buffer): void => {
      text += chunk.toString();
      if (!text.includes(wanted)) return;
      stream.off('data', take);
      done();
    };
    stream.on('data', take);
  });
}
