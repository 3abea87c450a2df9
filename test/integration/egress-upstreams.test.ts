import { createServer as createHttpsServer, type Server } from 'node:https';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { egressWorld, listening, tlsThrough, upstreamAuthority, type EgressWorld } from './egress-world.ts';

const host = 'api.example';
const megabyte = 1024 * 1024;
/** `GLOVEBOX_STREAM_MB=5120`: the full length, some minutes. */
const streamed = Number(process.env['GLOVEBOX_STREAM_MB'] ?? '256') * megabyte;
const most = 64 * megabyte;
const undo: (() => unknown)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

async function world(
  upstream: Server,
  port: number,
  ca: string,
  resolve?: () => Promise<string[]>,
  ranges = '127.0.0.0/8',
): Promise<EgressWorld> {
  const made = await egressWorld({
    upstreamCa: ca,
    rules: `  - { host: ${host}, port: ${String(port)}, methods: [GET, POST], privateRanges: ['${ranges}'] }\n`,
    ...(resolve === undefined ? {} : { resolve }),
  });
  undo.push(
    () => upstream.close(),
    () => upstream.closeAllConnections(),
    () => made.close(),
  );
  return made;
}

async function get(at: EgressWorld, port: number): Promise<number> {
  const tls = await tlsThrough(at, host, port, ['http/1.1']);
  return await new Promise((done, reject) => {
    const request = httpRequest({
      createConnection: () => tls,
      path: '/',
      headers: { host: `${host}:${String(port)}` },
    });
    request.once('error', reject);
    request.once('response', (response) => {
      response.resume();
      response.once('end', () => {
        tls.destroy();
        done(response.statusCode ?? 0);
      });
    });
    request.end();
  });
}

const loopback6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);

describe('an upstream with an IPv6 address', () => {
  it.skipIf(!loopback6)(
    '[R18] is connected to as checked, where the rule names its range, and not by a mapped or other form',
    async () => {
      const authority = await upstreamAuthority();
      const seen: string[] = [];
      const upstream = createHttpsServer(await authority.certificate(host), (request, response) => {
        seen.push(request.socket.remoteAddress ?? '');
        response.end('well');
      });
      await new Promise<void>((ready) => upstream.listen(0, '::1', ready));
      const { port } = upstream.address() as AddressInfo;
      const right = await world(upstream, port, authority.ca, async () => ['::1'], '::1/128');
      expect(await get(right, port)).toBe(200);
      expect(seen).toEqual(['::1']);
      expect(right.trail.at(-1)?.record?.detail ?? right.trail.at(-1)?.detail).toContain('200');
      for (const [address, range] of [
        ['::1', '127.0.0.0/8'],
        ['::1', 'fc00::/7'],
        ['::ffff:127.0.0.1', '::1/128'],
        ['64:ff9b::7f00:1', '::1/128'],
        ['fe80::1', '::1/128'],
      ] as const) {
        const wrong = await world(upstream, port, authority.ca, async () => [address], range);
        expect(await get(wrong, port)).toBe(403);
      }
      expect(seen).toHaveLength(1);
    },
  );
  if (!loopback6) console.log('IPv6 upstreams are not tested: this host has no ::1');
});

describe('a body of any length', () => {
  /** Sends and takes `streamed` bytes; the other end stands still for a while in the middle of each. */
  it.each(['down', 'up'])('[R45] goes %s with at most 64 MB held, however slow its taker is', async (way) => {
    const authority = await upstreamAuthority();
    const chunk = Buffer.alloc(megabyte, 'x');
    let sent = 0;
    let taken = 0;
    /** What is between the two ends: with no bound it grows to the whole of a body whose taker stands still. */
    let between = 0;
    const note = (): void => {
      between = Math.max(between, sent - taken);
    };
    const give = (to: NodeJS.WritableStream): void => {
      const more = (): void => {
        while (sent < streamed) {
          sent += chunk.length;
          note();
          if (!to.write(chunk)) return;
        }
        to.off('drain', more);
        to.end();
      };
      to.on('drain', more);
      more();
    };
    /** Stands still at the quarter until its giver has stopped giving, seen over turns of the loop, not by a clock. */
    const take = async (from: AsyncIterable<Buffer>): Promise<void> => {
      let stood = false;
      for await (const bytes of from) {
        taken += bytes.length;
        if (stood || taken < streamed / 4) continue;
        stood = true;
        let before = -1;
        for (let still = 0; still < 20; still = sent === before ? still + 1 : 0) {
          before = sent;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    };
    const upstream = createHttpsServer(await authority.certificate(host), (request, response) => {
      if (way === 'down') give(response);
      else void take(request).then(() => response.end('well'));
    });
    const port = await listening(upstream);
    const at = await world(upstream, port, authority.ca);
    const idle = process.memoryUsage();
    let peak = 0;
    const watch = setInterval(() => {
      const { external, arrayBuffers } = process.memoryUsage();
      peak = Math.max(peak, external + arrayBuffers - idle.external - idle.arrayBuffers);
    }, 20);
    const tls = await tlsThrough(at, host, port, ['http/1.1']);
    await new Promise<void>((done, reject) => {
      const request = httpRequest({
        createConnection: () => tls,
        method: way === 'down' ? 'GET' : 'POST',
        headers: {
          host: `${host}:${String(port)}`,
          ...(way === 'down' ? {} : { 'transfer-encoding': 'chunked' }),
        },
      });
      request.once('error', reject);
      request.once('response', (response) => {
        if (way === 'down') take(response).then(done, reject);
        else response.resume().once('end', done);
      });
      if (way === 'down') request.end();
      else give(request);
    });
    clearInterval(watch);
    tls.destroy();
    expect(taken).toBe(streamed);
    // Both ends and the proxy are one process here: sockets' buffers of all three are in it.
    expect(between).toBeLessThan(most);
    expect(peak).toBeLessThan(2 * most);
    if (process.env['GLOVEBOX_STREAM_MB'] !== undefined)
      console.log(
        `${way}: ${String(streamed / megabyte)} MB, at most ${(between / megabyte).toFixed(1)} MB between both ends, ${(peak / megabyte).toFixed(1)} MB of buffers`,
      );
  });
});
