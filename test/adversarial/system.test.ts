import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { World } from '../e2e/world.ts';
import { openGround, stillServes, type Ground } from './system-ground.ts';
import { codeOf, listeningPorts, type HostileSession, type Answer } from './system-world.ts';

let ground: Ground;
let world: World;
let first: HostileSession;
let second: HostileSession;
let shared: string;
beforeAll(async () => {
  ground = await openGround();
  ({ world, first, second, shared } = ground);
});
afterAll(() => ground.close());

describe('what listens on the host', () => {
  test('[R13] [R17] no port of the control plane, the secret broker or the bus is there, under no spelling of the host', async () => {
    const ports = listeningPorts(await world.daemon());
    // The workload API, the secret broker, and the bus at least; the control: from the host each of them answers.
    expect(ports.length).toBeGreaterThanOrEqual(3);
    for (const port of ports)
      await new Promise<void>((resolve, reject) => {
        const socket = createConnection({ host: '127.0.0.1', port }, () => {
          socket.destroy();
          resolve();
        });
        socket.once('error', reject);
      });
    const addresses = [
      '127.0.0.1',
      '0.0.0.0',
      '127.0.0.2',
      '127.1',
      '2130706433',
      '0x7f000001',
      '10.0.2.2',
    ].map((a) => ['4', a]);
    const v6 = ['::1', '::', '::ffff:127.0.0.1', '64:ff9b::127.0.0.1'].map((a) => ['6', a]);
    const hosts = ['localhost', 'ip6-localhost', 'glovebox', 'host.docker.internal'].map((a) => ['4', a]);
    const wanted = [
      ...ports.flatMap((port) => [...addresses, ...v6].map(([family, address]) => [family, address, port])),
      ...hosts.map(([family, address]) => [family, address, ports[0]]),
    ];
    const came = await first.do<Record<string, string>>('tries', { addresses: wanted }, 120_000);
    expect(Object.entries(came).filter(([, what]) => what === 'connected')).toEqual([]);
    expect(Object.keys(came)).toHaveLength(wanted.length);
  });

  test('[R13] nor a socket file of Glovebox’s, nor an abstract one', async () => {
    const sockets = [
      join(world.state, 'run/operator.sock'),
      '/run/glovebox/operator.sock',
      '/var/run/docker.sock',
    ];
    const came = await first.do<Record<string, string>>('tries', {
      addresses: sockets.map((path) => ['unix', path, 0]),
    });
    expect(Object.values(came)).toEqual(sockets.map(() => expect.not.stringMatching(/^connected$/)));
    // Its own doors, and no third one: the control.
    const ports = [9090, 3128, 9091, 4222, 22, 80, 443].map((port) => ['4', '127.0.0.1', port]);
    const own = await first.do<Record<string, string>>('tries', { addresses: ports });
    expect(
      Object.entries(own)
        .filter(([, what]) => what === 'connected')
        .map(([where]) => where),
    ).toEqual(['127.0.0.1 9090', '127.0.0.1 3128']);
  });

  test('[R1] [R13] the agent inherits 0, 1 and 2; nobody’s link can be opened or fetched', async () => {
    const { mine, opened } = await first.do<{ mine: number[]; opened: string[] }>('fds');
    expect(mine).toEqual([0, 1, 2]);
    expect(opened).toEqual([]);
    expect(await first.do('stolen', { pid: 1, fd: 3 })).not.toBe('stolen');
  });
});

describe('the other session', () => {
  test('[R2] [R9] its id in a path, a query, a body or a header changes nothing, or is refused', async () => {
    const [mine, other] = [await first.id(), await second.id()];
    const session = (came: Answer): string => (came.body as { sessionId: string }).sessionId;
    for (const headers of [
      { 'x-glovebox-session': other },
      { 'x-forwarded-for': '127.0.0.1', forwarded: `for=${other}`, 'x-real-ip': '127.0.0.1' },
      {
        'x-forwarded-host': 'localhost:9090',
        'x-original-url': `/v1/sessions/${other}`,
        'x-rewrite-url': '/v1/secrets',
      },
      { authorization: `Bearer ${other}`, cookie: `session=${other}` },
      {
        'x-glovebox-user': 'local/0',
        'x-glovebox-turn': other,
        'x-spiffe-id': `spiffe://glovebox.local/session/${other}/sidecar`,
      },
    ]) {
      const came = await first.api({ headers });
      expect(came.status === 200 ? session(came) : came.status).toBe(came.status === 200 ? mine : 403);
    }
    // Names of turns and of MCP sessions only narrow; of what this session never had there is none.
    expect((await first.api({ headers: { 'mcp-session-id': other } })).status).toBe(404);
    const byQuery = await first.api({ path: `/v1/session?session=${other}&sessionId=${other}` });
    expect(byQuery.status === 200 ? session(byQuery) : byQuery.status).toBe(
      byQuery.status === 200 ? mine : 403,
    );
    for (const path of [
      `/v1/session/${other}`,
      `/v1/sessions/${other}`,
      `/v1/sessions/${other}/stop`,
      '/v1/sessions',
      '/v1/consents',
      '/v1/secrets',
      '/v1/audit',
      '/v1/control',
      '/v1/tunnel/api',
      '/v1/identity/join',
      `/v1/session/${other}/policy`,
    ])
      for (const method of ['GET', 'POST'])
        expect(`${path} ${String((await first.api({ method, path, body: {} })).status)}`).toBe(`${path} 404`);
    const named = await first.api({
      method: 'POST',
      path: '/v1/events',
      body: { kind: 'message', text: 'x', sessionId: other },
    });
    expect(codeOf(named)).toBe('GB_CALLER_MISMATCH');
    const asked = await first.api({
      method: 'POST',
      path: '/v1/permissions',
      body: { scope: 'files:write:/shared/notes/x', session: other, user: 'local/0' },
    });
    expect(codeOf(asked)).toBe('GB_CALLER_MISMATCH');
    const read = await first.api({
      method: 'POST',
      path: '/v1/tools/files_read',
      body: { path: '/shared/open/read-me.txt', session: other },
    });
    expect(codeOf(read)).toBe('GB_INPUT_INVALID');
    expect((await first.do<Answer>('read', { path: '/shared/open/read-me.txt' })).body).toMatchObject({
      content: 'open to all',
    });
  });

  test('[R9] an MCP session id of its own or of the other’s is nobody: each request is its link’s', async () => {
    const hello = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
    };
    const theirs = await second.do<Answer>('mcp', { message: hello });
    expect(theirs.status).toBe(200);
    const list = {
      jsonrpc: '2.0',
      id: 2,
      method: 'tools/call',
      params: { name: 'files_write', arguments: { path: '/shared/notes/mcp.txt', content: 'x' } },
    };
    for (const id of [await second.id(), '1', '00000000-0000-0000-0000-000000000000']) {
      const came = await first.do<Answer>('mcp', { message: list, headers: { 'mcp-session-id': id } });
      expect(JSON.stringify(came.body)).toMatch(/GB_CONSENT_REQUIRED|error/);
    }
    expect(existsSync(join(shared, 'notes/mcp.txt'))).toBe(false);
  });
});

describe('the agent API against hostile HTTP', () => {
  test('[R2] another Host, or the Origin of a web page, is refused (DNS rebinding); its own name is served', async () => {
    for (const host of [
      'evil.example',
      'evil.example:9090',
      '127.0.0.1',
      '127.0.0.1:80',
      '0.0.0.0:9090',
      '[::1]:9090',
      'LOCALHOST:9090.',
      '127.0.0.1:9090@evil.example',
      '127.0.0.1:9090.evil.example',
      '',
    ])
      expect(`${host}: ${String((await first.api({ host })).status)}`).toMatch(/: (400|403)$/);
    for (const origin of [
      'http://evil.example',
      'null',
      'https://127.0.0.1:9090',
      'http://127.0.0.1:9090.evil.example',
    ])
      expect((await first.api({ headers: { origin } })).status).toBe(403);
    expect(
      (
        await first.do<Answer>('mcp', {
          message: { jsonrpc: '2.0', id: 1, method: 'ping' },
          headers: { origin: 'http://evil.example' },
        })
      ).status,
    ).toBe(403);
    expect(
      (await first.api({ host: 'localhost:9090', headers: { origin: 'http://localhost:9090' } })).status,
    ).toBe(200);
  });

  test('[R2] requests that two parsers could read differently are refused, and nothing behind them is served', async () => {
    const head = 'host: 127.0.0.1:9090\r\n';
    const hidden = 'GET /v1/tools HTTP/1.1\r\nhost: 127.0.0.1:9090\r\nconnection: close\r\n\r\n';
    const body = '{"kind":"progress","text":"a"}';
    const post = `POST /v1/events HTTP/1.1\r\n${head}content-type: application/json\r\n`;
    for (const text of [
      `${post}content-length: ${String(body.length)}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
      `${post}content-length: 5\r\ncontent-length: 30\r\n\r\n${body}${hidden}`,
      `${post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n${hidden}`,
      `${post}transfer-encoding : chunked\r\n\r\n0\r\n\r\n${hidden}`,
      `${post}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${hidden}`,
      `${post}content-length: +30\r\n\r\n${body}${hidden}`,
      `POST /v1/events HTTP/1.1\r\n host: 127.0.0.1:9090\r\n\r\n${hidden}`,
      `GET /v1/session HTTP/1.1\r\n${head}host: evil.example\r\n\r\n${hidden}`,
      `GET /v1/session HTTP/1.1\r\nhost: evil.example\r\n${head}\r\n${hidden}`,
      `GET /v1/session HTTP/1.1\r\n\r\n${hidden}`,
      `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
      hidden.replace('HTTP/1.1', 'HTTP/9.9'),
    ]) {
      const came = await first.do<string>('raw', { text });
      expect(`${text.slice(0, 160)} → ${came.slice(0, 80)}`).not.toMatch(/→ HTTP\/1\.1 2/);
      expect(came).not.toContain('files_read');
    }
    // The control: the same, unambiguous, and the one behind it on the same connection.
    const came = await first.do<string>('raw', {
      text: `${post}content-length: ${String(body.length)}\r\n\r\n${body}${hidden}`,
    });
    expect(came).toContain('"accepted":true');
    expect(came).toContain('files_read');
    for (const path of [
      '//',
      '*',
      'http://evil.example/v1/session',
      '/v1/tools/..%2f..%2fsession',
      '/\u0000',
      '/v1/tools/%',
      '/%zz',
      '/v1/../v1/secrets',
    ])
      expect(`${path} ${String((await first.api({ path })).status)}`).toMatch(/ (400|403|404)$/);
    await stillServes(first);
  });

  test('[R45] bodies past the bound, deep nesting and broken JSON are refused; one within the bound is read', async () => {
    const text = (length: number): string =>
      JSON.stringify({ path: '/shared/notes/large.txt', content: 'x'.repeat(length) });
    const given = { method: 'POST', path: '/v1/tools/files_write' };
    // The refusal may come as a reset instead, where it meets the rest of the body on its way.
    expect([0, 413]).toContain((await first.api({ ...given, text: text(1_200_000) })).status);
    expect((await first.api({ ...given, path: '/mcp', text: text(1_200_000) })).status).not.toBe(200);
    expect(codeOf(await first.api({ ...given, text: text(600_000) }))).toBe('GB_CONSENT_REQUIRED');
    for (const path of ['/v1/permissions', '/v1/tools/files_write', '/mcp'])
      expect((await first.do<Answer>('nested', { depth: 200_000, path })).status).toBeGreaterThanOrEqual(400);
    for (const broken of [
      '{',
      '[]',
      'null',
      '"x"',
      '{"path":1}',
      '{"__proto__":{"path":"/shared/notes/p"}}',
      '\ufeff{}',
    ])
      expect((await first.api({ ...given, text: broken })).status).toBe(400);
    expect((await first.api({ headers: { 'x-large': 'y'.repeat(40_000) } })).status).toBe(431);
    await stillServes(first);
  });
});
