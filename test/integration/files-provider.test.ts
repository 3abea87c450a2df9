import { chownSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProviderReply, SessionId } from '../../pure/contracts/index.ts';
import type { BusConnection } from '../../trusted/bus/index.ts';
import type { Result, Task } from './hostile-provider.ts';
import { ask, bundle, eventually, ProviderWorld } from './provider-world.ts';
import { newId } from './sidecar-world.ts';

const asRoot = process.geteuid?.() === 0;
let world: ProviderWorld;
let program: string;
beforeAll(async () => {
  world = await ProviderWorld.start();
  program = await bundle('untrusted/providers/files/main.ts', world.folder, 'provider-files.mjs');
});
afterAll(() => world.close());

describe('the files provider, in a sandbox of its own', () => {
  let notes: string;
  let session: SessionId;
  let bus: BusConnection;
  let stop: () => Promise<void>;
  const call = (operation: string, args: Record<string, unknown>): Promise<ProviderReply> =>
    ask(bus, session, operation, args);

  beforeAll(async () => {
    const folders = [world.share('notes', true), world.share('library', false)];
    notes = folders[0]?.source ?? '';
    writeFileSync(join(notes, 'a.txt'), 'one\ntwo words\n');
    writeFileSync(join(folders[1]?.source ?? '', 'book.txt'), 'to be read\n');
    if (asRoot) for (const { source } of folders) chownSync(source, 23456, 23457);
    ({ session, bus } = await world.sidecarBus());
    stop = await world.provider(program, folders);
    await eventually(() => call('list', { path: '/' })).catch((error: unknown) => {
      throw new Error(world.log.join('\n'), { cause: error });
    });
  });
  afterAll(() => stop());

  it('lists, reads, searches and writes over the bus', async () => {
    expect(await call('list', { path: '/' })).toEqual({
      ok: true,
      result: {
        entries: [
          { name: 'notes', kind: 'folder', write: true },
          { name: 'library', kind: 'folder', write: false },
        ],
      },
    });
    expect(await call('read', { path: '/notes/a.txt' })).toMatchObject({
      result: { content: 'one\ntwo words\n' },
    });
    expect(await call('search', { path: '/notes', text: 'words' })).toMatchObject({
      result: { matches: [{ path: '/notes/a.txt', line: 2 }] },
    });
    expect(await call('write', { path: '/notes/deep/new.txt', content: 'three' })).toMatchObject({
      ok: true,
    });
    expect(readFileSync(join(notes, 'deep/new.txt'), 'utf8')).toBe('three');
  });

  it('what it writes belongs to the owner of the folder', async () => {
    await call('write', { path: '/notes/owned.txt', content: '' });
    const { uid, gid } = statSync(join(notes, 'owned.txt'));
    const folder = statSync(notes);
    expect({ uid, gid }).toEqual({ uid: folder.uid, gid: folder.gid });
    if (asRoot) expect({ uid, gid }).toEqual({ uid: 23456, gid: 23457 });
  });

  it('sees what the person changes while it runs', async () => {
    writeFileSync(join(notes, 'later.txt'), 'first');
    if (asRoot) chownSync(join(notes, 'later.txt'), 23456, 23457);
    expect(await call('read', { path: '/notes/later.txt' })).toMatchObject({ result: { content: 'first' } });
    writeFileSync(join(notes, 'later.txt'), 'second');
    expect(await call('read', { path: '/notes/later.txt' })).toMatchObject({ result: { content: 'second' } });
  });

  it('a folder that is lent for reading is not written to', async () => {
    expect(await call('read', { path: '/library/book.txt' })).toMatchObject({ ok: true });
    expect(await call('write', { path: '/library/new.txt', content: '' })).toMatchObject({
      error: { code: 'read-only' },
    });
  });

  it('a link that leads out of the folder leads nowhere', async () => {
    writeFileSync(join(world.folder, 'secret.txt'), 'not shared');
    symlinkSync(join(world.folder, 'secret.txt'), join(notes, 'out'));
    symlinkSync('../library/book.txt', join(notes, 'across'));
    symlinkSync('/etc/passwd', join(notes, 'system'));
    for (const name of ['out', 'across', 'system']) {
      expect(await call('read', { path: `/notes/${name}` }), name).toMatchObject({
        error: { code: 'not-found' },
      });
    }
    expect(await call('search', { path: '/notes', text: 'read' })).toMatchObject({ result: { matches: [] } });
  });

  it('[R46] killed, it starts again and answers', async () => {
    const before = world.sandboxes.length;
    const sandbox = world.sandboxes.at(-1);
    process.kill(sandbox?.pid ?? 0, 'SIGKILL');
    await sandbox?.ended;
    expect(await eventually(() => call('read', { path: '/notes/a.txt' }))).toMatchObject({ ok: true });
    expect(world.sandboxes.length).toBe(before + 1);
  });

  it('[R46] its forwarder killed: the sandbox ends with it, and both start again', async () => {
    const sandbox = world.sandboxes.at(-1);
    process.kill(world.forwarders.at(-1) ?? 0, 'SIGKILL');
    await sandbox?.ended;
    expect(await eventually(() => call('read', { path: '/notes/a.txt' }))).toMatchObject({ ok: true });
  });
});

describe('a call from an agent before the provider is there', () => {
  it('waits for it, and is answered', async () => {
    const folders = [world.share('early', true)];
    writeFileSync(join(folders[0]?.source ?? '', 'a'), 'hello');
    const sidecar = await world.base.sidecar();
    await sidecar.openTurn();
    const script = `fetch('http://127.0.0.1:9090/v1/tools/files_read', { method: 'POST', body: '{"path":"/early/a"}',
      headers: { 'content-type': 'application/json' } }).then((r) => r.text()).then((text) => console.log(text));`;
    sidecar.activate([process.execPath, '-e', script], {
      tools: { allow: ['files:read:/early/**'], ask: [] },
      stdin: false,
    });
    // The intent is stored before the provider is asked: from here on the call waits.
    await eventually(async () => {
      const records = await world.base.records();
      if (!records.some((one) => one.session === sidecar.session && one.kind === 'intent'))
        throw new Error('not yet');
    });
    const stop = await world.provider(program, folders);
    await sidecar.report('exited');
    expect(JSON.parse(readFileSync(sidecar.logPath, 'utf8'))).toMatchObject({ content: 'hello' });
    await stop();
  });
});

describe('a provider that is an attacker', () => {
  const victim = newId();
  const servers: Server[] = [];
  const heard: string[] = [];
  let result: Result;
  let stop: () => Promise<void>;

  beforeAll(async () => {
    const box = world.share('box', true);
    const server = createServer((_, response) => response.end('reached'));
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    servers.push(server);
    const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const task: Task = {
      victim,
      token: '0'.repeat(32),
      ports: [(server.address() as AddressInfo).port, world.base.busPort, world.base.api.port],
      addresses: [
        ...own.filter(({ family }) => family === 'IPv4').map(({ address }) => address),
        ...['127.0.0.1', '::1', '169.254.169.254', '10.0.0.1'],
      ],
    };
    writeFileSync(join(box.source, 'task.json'), JSON.stringify(task));
    const graph = await world.connect({ kind: 'provider', domain: 'graph', name: 'main' });
    await graph.subscribe('gb.provider.graph.*.*', ({ subject }) => void heard.push(subject), {
      queue: 'graph',
    });
    const sidecar = await world.connect({ kind: 'sidecar', session: victim as SessionId });
    for (const name of ['input', 'control'])
      await sidecar.subscribe(`gb.session.${victim}.${name}`, ({ subject }) => void heard.push(subject));
    const hostile = await bundle('test/integration/hostile-provider.ts', world.folder, 'hostile.mjs');
    stop = await world.provider(hostile, [box]);
    try {
      result = await eventually(
        async () => JSON.parse(readFileSync(join(box.source, 'result.json'), 'utf8')) as Result,
        50_000,
      );
    } catch (error) {
      throw new Error(world.log.join('\n'), { cause: error });
    }
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    await stop();
  });

  it('[R8] [R10] [R11] the server refuses it all but its own domain, its own inbox and its own answers', () => {
    expect(result.taken).toEqual([
      'publish _INBOX.sidecar.VICTIM.reply.files.TOKEN',
      'subscribe gb.provider.files.*.* files',
      'subscribe _INBOX.provider.files.main.>',
    ]);
    expect(result.refused).toHaveLength(36);
    expect(result.refused).toContain('publish gb.session.VICTIM.input');
    expect(result.refused).toContain('subscribe gb.provider.graph.*.* graph');
    expect(heard).toEqual([]);
  });
  it('[R2] [R3] its certificate renews, and is refused by every other route', () => {
    const { renew, ...others } = result.routes;
    expect(renew).toBe('200');
    expect(Object.keys(others).length).toBeGreaterThanOrEqual(7);
    expect(new Set(Object.values(others))).toEqual(new Set(['403 GB_CALLER_REFUSED']));
  });
  it('[R16] of all ports of its loopback two answer, and outside nothing does', () => {
    expect(result.open).toEqual([4222, 9091]);
    expect(Object.values(result.outside).filter((answer) => answer === 'open')).toEqual([]);
    expect(Object.keys(result.outside).length).toBeGreaterThan(10);
    expect(result.interfaces.filter((name) => name !== 'lo')).toEqual([]);
    expect(result.lookup).not.toBe('found');
  });
  it('[R27] its environment holds nothing of the host', () => {
    expect(result.environment).toEqual(expect.arrayContaining(['HOME', 'LANG', 'PATH']));
    expect(
      result.environment.filter((name) => !['HOME', 'LANG', 'PATH', 'PWD', 'SHLVL'].includes(name)),
    ).toEqual([]);
  });
  it('[R16] control: the same places answer from the host', async () => {
    const { port } = servers[0]?.address() as AddressInfo;
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('reached');
  });
});

describe('across certificate lifetimes', () => {
  it('[R4] no call is lost while the provider renews several times', async () => {
    world.shortLives(6);
    const folders = [world.share('renewed', true)];
    writeFileSync(join(folders[0]?.source ?? '', 'a'), 'x'.repeat(200_000));
    const { session, bus } = await world.sidecarBus();
    const stop = await world.provider(program, folders);
    const call = (): Promise<ProviderReply> => ask(bus, session, 'read', { path: '/renewed/a' });
    await eventually(call);
    const sandboxes = world.sandboxes.length;
    // Three lifetimes: six renewals. What ends this is the clock of the certificates.
    const until = Date.now() + 18_000;
    let answered = 0;
    while (Date.now() < until) {
      const replies = await Promise.all(Array.from({ length: 8 }, call));
      for (const reply of replies) expect(reply.ok).toBe(true);
      answered += replies.length;
    }
    expect(answered).toBeGreaterThan(100);
    expect(world.sandboxes.length).toBe(sandboxes);
    await stop();
  });
});
