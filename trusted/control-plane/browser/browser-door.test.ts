import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  asUserId,
  GloveboxError,
  limits,
  notForBrowsers,
  operatorRoutes,
} from '../../../pure/contracts/index.ts';
import { RequestRate } from '../../workload-http/index.ts';
import { EventHub } from '../operator/event-hub.ts';
import type { OperatorHandlers } from '../operator/handlers.ts';
import { personAtSocket } from '../operator/operator-socket.ts';
import { operatorServer } from '../operator/server.ts';
import { BrowserDoor } from './browser-door.ts';

const doors: BrowserDoor[] = [];
afterEach(async () => {
  for (const door of doors.splice(0)) await door.close();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

interface World {
  readonly door: BrowserDoor;
  readonly host: string;
  readonly hub: EventHub;
  readonly calls: string[];
  readonly records: string[];
  time: number;
  token(): Promise<string>;
  send(method: string, path: string, headers?: Record<string, string>, body?: string): Promise<Answer>;
  login(token?: string): Promise<Answer & { proof: Record<string, string> }>;
}

/** The door and the real server of the operator API; only what lies behind its handlers is the test's. */
async function openWorld(): Promise<World> {
  const hub = new EventHub();
  const calls: string[] = [];
  const records: string[] = [];
  const handlers = new Proxy<Record<string, unknown>>(
    {},
    {
      get: (_, name: string) => async (call: { reader: { lastId: string | undefined } }) => {
        calls.push(name);
        if (name === 'events')
          return { contentType: 'text/event-stream', stream: hub.serverSent(null, [], call.reader.lastId) };
        if (name === 'health') return { version: 'secret-version', pid: 1, startedAt: '', warmSidecars: 0 };
        if (name === 'listSecrets' || name === 'listSessions') return [];
        if (name === 'shutdown') return { stopping: true };
        throw new GloveboxError('GB_NOT_FOUND', { what: 'such thing', detail: name });
      },
    },
  ) as unknown as OperatorHandlers;
  const world = { time: 1_800_000_000_000 };
  const caller = personAtSocket();
  const door = new BrowserDoor({
    user: asUserId('local/1000'),
    serve: async (server) =>
      await operatorServer({
        server,
        without: notForBrowsers,
        handlers,
        findSession: () => Promise.reject(new GloveboxError('GB_NOT_FOUND', { what: 'session', detail: '' })),
        caller,
        version: 'secret-version',
        rate: new RequestRate('operatorRate', 100, () => world.time),
        onError: (error) => console.error(error),
      }),
    refusals: new RequestRate('browserRefusals', limits.browserRefusals.value, () => world.time),
    record: (decision, rule) => void records.push(`${decision} ${rule}`),
    now: () => world.time,
    requestTime: 400,
  });
  doors.push(door);
  const { host } = new URL((await door.open()).url);
  const send: World['send'] = (method, path, headers = {}, body) =>
    new Promise((resolve, reject) => {
      const [hostname, port] = host.split(':');
      const call = request(
        { hostname, port, method, path, headers: { host, ...headers }, agent: false },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => (text += part));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          );
          response.on('error', reject);
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  const token = async (): Promise<string> => new URL((await door.open()).url).hash.slice(1);
  const json = { 'content-type': 'application/json', origin: `http://${host}` };
  return Object.assign(world, {
    door,
    host,
    hub,
    calls,
    records,
    token,
    send,
    login: async (given?: string) => {
      const answer = await send('POST', '/login', json, JSON.stringify({ token: given ?? (await token()) }));
      const cookie = (answer.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? '';
      const { key = '' } = JSON.parse(answer.body) as { key?: string };
      return { ...answer, proof: { cookie, 'x-glovebox-key': key } };
    },
  });
}

const everyRead = [
  '/v1/health',
  '/v1/sessions',
  '/v1/secrets',
  '/v1/events',
  '/openapi.json',
  '/v1/keys',
  '/nothing',
  '/v1/%ff',
];

describe('[R39] whoever is not logged in', () => {
  it.each(everyRead)('gets nothing of %s, not even a version', async (path) => {
    const world = await openWorld();
    const answer = await world.send('GET', path);
    expect(answer.status).toBe(401);
    expect(answer.body).not.toContain('secret-version');
    expect(world.calls).toEqual([]);
  });

  it('gets the login page, which is the same for all', async () => {
    const world = await openWorld();
    const page = await world.send('GET', '/');
    expect(page).toMatchObject({
      status: 200,
      headers: { 'x-frame-options': 'DENY', 'cache-control': 'no-store' },
    });
    expect(page.body + (await world.send('GET', '/login.js')).body).not.toContain('secret-version');
  });

  it('needs the cookie and the key, of the same login', async () => {
    const world = await openWorld();
    const one = await world.login();
    const other = await world.login();
    const key = 'x-glovebox-key';
    const tries = [
      { cookie: one.proof['cookie'] ?? '' },
      { [key]: one.proof[key] ?? '' },
      { cookie: one.proof['cookie'] ?? '', [key]: other.proof[key] ?? '' },
      { cookie: `${one.proof['cookie'] ?? ''}x`, [key]: one.proof[key] ?? '' },
      { authorization: `Bearer ${one.proof[key] ?? ''}` },
    ];
    for (const headers of tries)
      expect(await world.send('GET', '/v1/health', headers)).toMatchObject({ status: 401 });
    expect(await world.send('GET', '/v1/health', one.proof)).toMatchObject({ status: 200 });
    const beside = { ...one.proof, cookie: `other=1; ${one.proof['cookie'] ?? ''}; more=2` };
    expect(await world.send('GET', '/v1/health', beside)).toMatchObject({ status: 200 });
  });

  it('costs no work and no record once the refusals of a minute are used up; a person is served on', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    for (let n = 0; n < limits.browserRefusals.value; n += 1) await world.send('GET', '/v1/health');
    const before = world.records.length;
    await expect(world.send('GET', '/v1/health')).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(world.records).toHaveLength(before);
    expect(await world.send('GET', '/v1/health', proof)).toMatchObject({ status: 200 });
    expect((await world.login()).status).toBe(200);
  });
});

describe('a page of another site, in the person’s own browser', () => {
  const change = (world: World, headers: Record<string, string>): Promise<Answer> =>
    world.send('POST', '/v1/shutdown', headers);

  it('is refused by a name of its own that points here (DNS rebinding), logged in or not', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    const port = world.host.split(':')[1] ?? '';
    for (const host of [
      `evil.example:${port}`,
      `localhost:${port}`,
      '127.0.0.1',
      `127.0.0.1.:${port}`,
      `0x7f.1:${port}`,
    ])
      for (const path of ['/', '/v1/health'])
        expect(await world.send('GET', path, { ...proof, host }), host).toMatchObject({ status: 403 });
    expect(await world.send('GET', `http://${world.host}/v1/health`, proof)).toMatchObject({ status: 403 });
    expect(await world.send('GET', '/v1/health', proof)).toMatchObject({ status: 200 });
  });

  it('is refused with two hosts', async () => {
    const world = await openWorld();
    const [hostname = '', port] = world.host.split(':');
    const socket = connect(Number(port), hostname);
    let text = '';
    socket.on('data', (part) => (text += part.toString()));
    socket.write(`GET / HTTP/1.1\r\nHost: ${world.host}\r\nHost: evil.example\r\n\r\n`);
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 4/);
  });

  it.each(['http://evil.example', 'null', 'http://localhost', 'https://127.0.0.1', ''])(
    'is refused from the origin %j, for reading and for changes',
    async (origin) => {
      const world = await openWorld();
      const { proof } = await world.login();
      expect(await change(world, { ...proof, origin })).toMatchObject({ status: 403 });
      expect(await world.send('GET', '/v1/sessions', { ...proof, origin })).toMatchObject({ status: 403 });
      expect(await world.send('OPTIONS', '/v1/sessions', { origin })).toMatchObject({ status: 403 });
      expect(world.calls).toEqual([]);
      expect(await change(world, { ...proof, origin: `http://${world.host}` })).toMatchObject({
        status: 200,
      });
    },
  );

  it('changes nothing by a form or a plain request: no origin, no key, no JSON', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    const own = { origin: `http://${world.host}` };
    const cookie = proof['cookie'] ?? '';
    expect(await change(world, proof)).toMatchObject({ status: 403 });
    expect(await change(world, { cookie, ...own })).toMatchObject({ status: 401 });
    expect(await change(world, { ...proof, ...own, 'sec-fetch-site': 'cross-site' })).toMatchObject({
      status: 403,
    });
    expect(await change(world, { ...proof, ...own, 'sec-fetch-site': 'same-site' })).toMatchObject({
      status: 403,
    });
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]) {
      const body = JSON.stringify({ name: 'apparmor', waived: true });
      const headers = { ...proof, ...own, 'content-type': type };
      const answer = await world.send('POST', '/v1/host/waivers', headers, body);
      expect(answer.status, type).toBeGreaterThanOrEqual(400);
      expect(answer.status, type).toBeLessThan(500);
    }
    expect(world.calls).toEqual([]);
  });

  it('gets a cookie that no script reads and no other site sends', async () => {
    const world = await openWorld();
    const [cookie = ''] = (await world.login()).headers['set-cookie'] ?? [];
    expect(cookie).toMatch(
      /^glovebox-[0-9a-f]{12}=[\w-]{43}; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Strict$/,
    );
  });
});

describe('[R6] a login token', () => {
  it('is good once, also where 50 ask at the same moment', async () => {
    const world = await openWorld();
    const token = await world.token();
    const all = await Promise.all(Array.from({ length: 50 }, () => world.login(token)));
    const states = all.map(({ status }) => status).sort();
    expect(states).toEqual([200, ...Array.from({ length: 49 }, () => 409)]);
  });

  it('is refused when it is old, when it was guessed, and when too many came after it', async () => {
    const world = await openWorld();
    const old = await world.token();
    world.time += limits.browserToken.value;
    expect((await world.login(old)).status).toBe(403);
    expect((await world.login('a'.repeat(43))).status).toBe(403);
    const first = await world.token();
    for (let n = 0; n < limits.browserLogins.value; n += 1) await world.token();
    expect((await world.login(first)).status).toBe(403);
    expect((await world.login()).status).toBe(200);
  });

  it('is not taken from a large body, nor from one with more in it', async () => {
    const world = await openWorld();
    const headers = { 'content-type': 'application/json', origin: `http://${world.host}` };
    const token = await world.token();
    expect((await world.send('POST', '/login', headers, JSON.stringify({ token, x: 1 }))).status).toBe(400);
    expect(
      (await world.send('POST', '/login', headers, JSON.stringify({ token: 'x'.repeat(2000) }))).status,
    ).toBe(429);
    expect((await world.send('POST', '/login', headers, '{')).status).toBe(400);
    expect((await world.login(token)).status).toBe(200);
  });
});

describe('a login', () => {
  it('ends at logout, with what it holds open; its cookie is nothing then', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    const own = { ...proof, origin: `http://${world.host}` };
    const [hostname, port] = world.host.split(':');
    const call = request({ hostname, port, path: '/v1/events', headers: { host: world.host, ...proof } });
    call.end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    response.resume();
    response.on('error', () => undefined);
    const ended = new Promise((resolve) => response.once('close', resolve));
    expect(await world.send('POST', '/logout', own)).toMatchObject({ status: 200 });
    await ended;
    expect(await world.send('GET', '/v1/health', proof)).toMatchObject({ status: 401 });
  });

  it('ends with its time, and when it is the oldest of too many', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    for (let n = 0; n < limits.browserLogins.value; n += 1) await world.login();
    expect(await world.send('GET', '/v1/health', proof)).toMatchObject({ status: 401 });
    const last = await world.login();
    world.time += limits.browserLogin.value - 1;
    expect(await world.send('GET', '/v1/health', last.proof)).toMatchObject({ status: 200 });
    world.time += 1;
    expect(await world.send('GET', '/v1/health', last.proof)).toMatchObject({ status: 401 });
  });

  it('is unknown to another door, as after a restart, and to the same one once it was closed', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    expect(await (await openWorld()).send('GET', '/v1/health', proof)).toMatchObject({ status: 401 });
    await world.door.close();
    await expect(world.send('GET', '/v1/health', proof)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const { host } = new URL((await world.door.open()).url);
    const [hostname, port] = host.split(':');
    const call = request({ hostname, port, path: '/v1/health', headers: { host, ...proof } }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    expect(response.resume().statusCode).toBe(401);
  });

  it.each(notForBrowsers)('cannot call %s: it would make more of itself', async (name) => {
    const world = await openWorld();
    const { proof } = await world.login();
    const { method, path } = operatorRoutes[name as keyof typeof operatorRoutes];
    const own = {
      ...proof,
      origin: `http://${world.host}`,
      connection: 'Upgrade',
      upgrade: 'glovebox-attach',
    };
    expect(await world.send(method, path, own)).toMatchObject({ status: 404 });
    expect(world.calls).toEqual([]);
  });

  it('counts against the person’s rate', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    const all = await Promise.all(Array.from({ length: 101 }, () => world.send('GET', '/v1/health', proof)));
    expect(all.filter(({ status }) => status === 429)).toHaveLength(1);
  });
});

const matches = (value: unknown, wanted: object): boolean => {
  const [[name, there] = ['', undefined]] = Object.entries(wanted) as [string, unknown][];
  return typeof value === 'object' && value !== null && Reflect.get(value, name) === there;
};

describe('[R45] slow and large requests', () => {
  it('are not waited for: a body of somebody unknown is not read at all', async () => {
    const world = await openWorld();
    const [hostname = '', port] = world.host.split(':');
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (part) => (text += part.toString()));
    socket.write(
      `POST /v1/sessions HTTP/1.1\r\nHost: ${world.host}\r\nOrigin: http://${world.host}\r\nContent-Length: 4000000\r\n\r\n`,
    );
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 401 /);
  });

  it('are cut off by the clock of the server, for everybody', async () => {
    const world = await openWorld();
    const [hostname = '', port] = world.host.split(':');
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.resume();
    socket.write('GET / HTTP/1.1\r\nHost: ');
    await once(socket, 'close');
  });

  it('of a person are bounded too', async () => {
    const world = await openWorld();
    const { proof } = await world.login();
    const headers = { ...proof, origin: `http://${world.host}`, 'content-type': 'application/json' };
    const big = JSON.stringify({ text: 'x'.repeat(limits.operatorBody.value) });
    const answer = await world.send('POST', '/v1/sessions', headers, big).catch((error: unknown) => error);
    expect(
      [{ status: 429 }, { code: 'ECONNRESET' }, { code: 'EPIPE' }].some((one) => matches(answer, one)),
    ).toBe(true);
    expect(world.calls).toEqual([]);
  });
});

describe('server-sent events', () => {
  async function read(world: World, headers: Record<string, string>, until: number): Promise<string[]> {
    const [hostname, port] = world.host.split(':');
    const call = request({
      hostname,
      port,
      path: '/v1/events',
      headers: { host: world.host, ...headers },
    }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    let text = '';
    for await (const part of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += part;
      if (text.split('\n\n').length - 1 >= until) break;
    }
    response.destroy();
    return text.split('\n\n').filter((one) => one !== '');
  }
  const say = (world: World, text: string): void =>
    world.hub.publish({ type: 'agent', sessionId: 's', kind: 'progress', text });

  it('resume after the last one that was seen, and say so where that is not known', async () => {
    const world = await openWorld();
    const headers = { ...(await world.login()).proof, accept: 'text/event-stream' };
    const first = read(world, headers, 2);
    while (world.hub.size === 0) await new Promise((resolve) => setImmediate(resolve));
    say(world, 'one');
    const id = /^id: (.+)$/m.exec((await first)[1] ?? '')?.[1] ?? '';
    say(world, 'two');
    say(world, 'three');
    const missed = await read(world, { ...headers, 'last-event-id': id }, 3);
    expect(missed.slice(1).map((one) => /"text":"(\w+)"/.exec(one)?.[1])).toEqual(['two', 'three']);
    expect((await read(world, { ...headers, 'last-event-id': 'another.1' }, 2))[1]).toContain('event: reset');
    for (let n = 0; n <= limits.eventReplay.value; n += 1) say(world, 'flood');
    expect((await read(world, { ...headers, 'last-event-id': id }, 2))[1]).toContain('event: reset');
  });
});
