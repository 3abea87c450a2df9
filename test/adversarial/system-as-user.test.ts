import { chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installedPackage } from '../e2e/installed.ts';
import { World } from '../e2e/world.ts';
import { codeOf, HostileSession, listeningPorts, type Answer } from './system-world.ts';

/**
 * What an agent tries from inside, where Glovebox belongs to an ordinary user: other rights hold the same walls up there. All of it
 * runs as root in system.test.ts; what does not depend on who runs it is only there.
 */
const us = process.getuid?.() ?? 0;
const uid = us === 0 ? 12345 : us;
let install: string;
let world: World;
let first: HostileSession;
let second: HostileSession;
let inWorkspace: Server;

beforeAll(async () => {
  install = mkdtempSync(join(tmpdir(), 'gb-install-'));
  world = new World([], { uid, launcher: installedPackage(install) });
  const script = join(world.project, 'system-inside.py');
  copyFileSync(join(import.meta.dirname, 'system-inside.py'), script);
  inWorkspace = createServer((socket) => socket.end('host')).listen(join(world.project, 'host.sock'));
  await once(inWorkspace, 'listening');
  for (const path of [script, join(world.project, 'host.sock')]) chownSync(path, uid, uid);
  await world.waive();
  first = new HostileSession(world, 'first', ['-i']);
  second = new HostileSession(world, 'second', ['-i']);
  await Promise.all([first, second].map((session) => session.api()));
});
afterAll(async () => {
  for (const session of [first, second]) session.child.stdin?.end();
  await world.close();
  inWorkspace.close();
  rmSync(install, { recursive: true, force: true });
});

const connected = (came: Record<string, string>): string[] =>
  Object.entries(came)
    .filter(([, what]) => what === 'connected')
    .map(([where]) => where);

describe('from inside, where Glovebox is an ordinary user’s', () => {
  test('[R13] [R17] no port of Glovebox’s or of the host’s; its own two doors', async () => {
    const ports = listeningPorts(await world.daemon());
    expect(ports.length).toBeGreaterThanOrEqual(3);
    const [port = 0] = ports;
    const socket = createConnection({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    socket.destroy();
    const hosts = [
      ...['127.0.0.1', '0.0.0.0', '127.0.0.2', '10.0.2.2', '169.254.169.254'].map((a) => ['4', a] as const),
      ...['::1', '::ffff:127.0.0.1'].map((a) => ['6', a] as const),
    ];
    const addresses = ports.flatMap((one) => hosts.map(([family, host]) => [family, host, one]));
    expect(connected(await first.do('tries', { addresses }, 120_000))).toEqual([]);
    const own = [9090, 3128, 4222, 22, 80].map((one) => ['4', '127.0.0.1', one]);
    expect(connected(await first.do('tries', { addresses: own }))).toEqual([
      '127.0.0.1 9090',
      '127.0.0.1 3128',
    ]);
  });

  test('[R13] no socket file: the operator’s, or one that the host keeps in the workspace', async () => {
    const paths = [join(world.state, 'run/operator.sock'), '/workspace/host.sock', './host.sock'];
    const addresses = paths.map((path) => ['unix', path, 0]);
    expect(connected(await first.do('tries', { addresses }))).toEqual([]);
    // The control: on the host it answers.
    const socket = createConnection(join(world.project, 'host.sock'));
    expect(String((await once(socket, 'data'))[0])).toBe('host');
  });

  test('[R1] [R23] it inherits 0, 1 and 2; the link of init, or another’s, is not to be had', async () => {
    const { mine, opened } = await first.do<{ mine: number[]; opened: string[] }>('fds');
    expect(mine).toEqual([0, 1, 2]);
    expect(opened).toEqual([]);
    expect(await first.do('stolen', { pid: 1, fd: 3 })).not.toBe('stolen');
  });

  test('[R2] [R9] the other session’s id is refused', async () => {
    const other = await second.id();
    expect(codeOf(await first.api({ headers: { 'x-glovebox-session': other } }))).toBe('GB_CALLER_MISMATCH');
    const body = { kind: 'message', text: 'x', sessionId: other };
    const named: Answer = await first.api({ method: 'POST', path: '/v1/events', body });
    expect(codeOf(named)).toBe('GB_CALLER_MISMATCH');
    expect((await second.api()).body).toMatchObject({ sessionId: other });
  });

  test('[R18] [R40] nothing leaves by the proxy without a policy that says so', async () => {
    for (const target of ['example.com:443', '127.0.0.1:9090', '169.254.169.254:80'])
      expect((await first.do<Answer>('connect', { target })).status).toBeGreaterThanOrEqual(400);
  });
});
