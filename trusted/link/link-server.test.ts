import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { createServer, connect as connectSocket, type Socket } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../pure/contracts/index.ts';
import { LinkServer, type LinkEnd, type LinkEvent } from './index.ts';

let folder: string;
let link: LinkServer;
let peer: Socket;
let session: ClientHttp2Session;
let tick: () => void = () => undefined;
let stopped = false;
const events: LinkEvent[] = [];
const tunnels: Duplex[] = [];
let ended: Promise<LinkEnd>;

/** Both ends of a connection on this machine; the client's side is what a test makes of it. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-link-'));
  const server = createServer();
  server.listen(join(folder, 'link'));
  await once(server, 'listening');
  peer = connectSocket(join(folder, 'link'));
  const [socket] = (await once(server, 'connection')) as [Socket];
  server.close();
  events.length = 0;
  tunnels.length = 0;
  stopped = false;
  ended = new Promise((resolve) => {
    link = new LinkServer(
      socket,
      {
        event: (event) => events.push(event),
        tunnel: (name, connection) => name === 'api' && tunnels.push(connection) > 0,
        stdio: (id) => id === 'main',
        ended: resolve,
      },
      {
        ticker: (run) => {
          tick = run;
          return () => (stopped = true);
        },
      },
    );
  });
  await once(peer, 'readable');
  expect((peer.read(1) as Buffer).toString()).toBe('G');
  session = connect('http://link', { createConnection: () => peer });
  session.on('error', () => undefined);
});
afterEach(() => {
  link.close();
  session.destroy();
  rmSync(folder, { recursive: true, force: true });
});

function open(path: string, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({ ':method': 'POST', ':path': path, ':authority': 'link', ...headers });
  stream.on('error', () => undefined);
  return stream;
}

async function control(): Promise<ClientHttp2Stream> {
  const stream = open('/v1/control');
  await once(stream, 'response');
  stream.write(Buffer.from('{"type":"hello","version":1}\n'));
  return stream;
}
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

describe('the trusted end of a link', () => {
  it('takes events and gives commands, those of before the control stream too', async () => {
    link.send({ type: 'configure', listen: [] });
    const stream = await control();
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    expect(JSON.parse(chunk.toString())).toEqual({ type: 'configure', listen: [] });
    stream.write(Buffer.from('{"type":"started","id":"main",'));
    stream.write(Buffer.from('"pid":7}\n{"type":"heartbeat"}\n'));
    await until(() => events.length === 2);
    expect(events).toEqual([
      { type: 'hello', version: 1 },
      { type: 'started', id: 'main', pid: 7 },
    ]);
  });

  it('carries a tunnel with half-close: the answer comes after the end of the question', async () => {
    await control();
    const stream = open('/v1/tunnel/api');
    stream.end(Buffer.from('question'));
    await until(() => tunnels.length === 1);
    const [tunnel] = tunnels;
    let asked = '';
    tunnel!.on('data', (chunk: Buffer) => (asked += chunk.toString()));
    await once(tunnel!, 'end');
    expect(asked).toBe('question');
    tunnel!.end('answer');
    expect(((await once(stream, 'data')) as [Buffer])[0].toString()).toBe('answer');
    await once(stream, 'end');
  });

  it('short strings arrive as they were written', async () => {
    await control();
    for (let round = 0; round < 50; round += 1) {
      const stream = open('/v1/tunnel/api');
      await until(() => tunnels.length === round + 1);
      tunnels[round]!.end('HTTP/1.1 200 OK\r\n', 'latin1');
      expect(((await once(stream, 'data')) as [Buffer])[0].toString()).toBe('HTTP/1.1 200 OK\r\n');
      stream.end();
    }
  });

  it('a destroyed tunnel is a reset, and a reset is no end', async () => {
    await control();
    const mine = open('/v1/tunnel/api');
    await until(() => tunnels.length === 1);
    tunnels[0]!.destroy();
    await once(mine, 'close');
    expect(mine.rstCode).toBe(8);
    const theirs = open('/v1/tunnel/api');
    await until(() => tunnels.length === 2);
    let end = false;
    tunnels[1]!.on('end', () => (end = true));
    theirs.write(Buffer.from('half'));
    await once(tunnels[1]!.resume(), 'data');
    theirs.destroy(new Error('gone'));
    await once(tunnels[1]!, 'close');
    expect(end).toBe(false);
  });

  it('[R46] resets in both directions at once neither hang nor end it', async () => {
    const stream = await control();
    const mine: ClientHttp2Stream[] = [];
    for (let round = 0; round < 150; round += 1) {
      for (let one = 0; one < 4; one += 1) {
        const tunnel = open('/v1/tunnel/api');
        tunnel.write(Buffer.alloc(1000));
        mine.push(tunnel);
      }
      // Each reset that arrives makes our side reset others, in the same turn of the event loop.
      for (const tunnel of tunnels.splice(0)) {
        tunnel.resume().once('close', () => tunnels[0]?.destroy());
        if (round % 3 === 0) tunnel.destroy();
      }
      for (const tunnel of mine.splice(0, 3)) tunnel.close(8);
      if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    events.length = 0;
    stream.write(Buffer.from('{"type":"configured"}\n'));
    await until(() => events.length === 1);
  });

  it('a writer waits where nobody reads', async () => {
    await control();
    const stream = open('/v1/tunnel/api');
    await until(() => tunnels.length === 1);
    let written = 0;
    const piece = Buffer.alloc(65_536);
    while (written < 64 * 1024 * 1024 && stream.write(piece)) written += piece.length;
    for (let round = 0; round < 200; round += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!stream.writableNeedDrain) stream.write(piece);
    }
    expect(tunnels[0]!.readableLength).toBeLessThan(limits.linkWindow.value);
    expect(stream.writableNeedDrain).toBe(true);
  });

  const violations: [string, () => Promise<unknown>][] = [
    ['a second control stream', async () => (await control(), open('/v1/control'))],
    ['a stream before the control stream', () => Promise.resolve(open('/v1/tunnel/api'))],
    ['an unknown path', async () => (await control(), open('/v1/other'))],
    ['a path that leaves', async () => (await control(), open('/v1/tunnel/../control'))],
    ['another authority', async () => (await control(), open('/v1/tunnel/api', { ':authority': 'other' }))],
    ['another method', async () => (await control(), open('/v1/tunnel/api', { ':method': 'GET' }))],
    ['a tunnel that was not configured', async () => (await control(), open('/v1/tunnel/other'))],
    ['a process that nobody started', async () => (await control(), open('/v1/stdio/other/stdout'))],
    [
      'the same stdio twice',
      async () => {
        await control();
        open('/v1/stdio/main/stdout');
        open('/v1/stdio/main/stdout');
      },
    ],
    [
      'a line that is too long',
      async () => (await control()).write(Buffer.alloc(limits.linkLine.value + 1, 'a')),
    ],
    ['a line that is no JSON', async () => (await control()).write(Buffer.from('nonsense\n'))],
    ['an unknown event', async () => (await control()).write(Buffer.from('{"type":"other"}\n'))],
    [
      'an event with more than it has',
      async () => (await control()).write(Buffer.from('{"type":"configured","x":1}\n')),
    ],
    [
      'an exit code of no process',
      async () =>
        (await control()).write(Buffer.from('{"type":"exited","id":"main","code":256,"signal":null}\n')),
    ],
    ['another version', async () => open('/v1/control').write(Buffer.from('{"type":"hello","version":2}\n'))],
  ];
  it.each(violations)('[R2] %s ends it', async (_what, violate) => {
    await violate();
    expect(await ended).toMatchObject({ reason: 'link-violation' });
  });

  it('a line of the greatest length is heard', async () => {
    const stream = await control();
    const message = 'm'.repeat(2048);
    const line = JSON.stringify({ type: 'failed', id: 'main', code: 'ENOENT', message });
    stream.write(Buffer.from(`${line}${' '.repeat(limits.linkLine.value - line.length)}\n`));
    await until(() => events.length === 2);
    expect(events[1]).toMatchObject({ type: 'failed' });
  });

  it('[R46] silence ends it; a heartbeat does not', async () => {
    const stream = await control();
    await until(() => events.length === 1);
    const missed = limits.heartbeatMissed.value / 1000;
    for (let round = 0; round < 4; round += 1) {
      for (let second = 0; second < missed; second += 1) tick();
      const heard = once(stream, 'data');
      stream.write(Buffer.from('{"type":"heartbeat"}\n{"type":"configured"}\n'));
      await until(() => events.length === 2 + round);
      heard.catch(() => undefined);
    }
    expect(stopped).toBe(false);
    for (let second = 0; second <= missed; second += 1) tick();
    expect(await ended).toMatchObject({ reason: 'heartbeat-missed' });
  });

  it('the end of the connection is the end of the link', async () => {
    await control();
    session.destroy();
    expect(await ended).toMatchObject({ reason: 'closed' });
  });
});
