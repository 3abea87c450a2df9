import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SandboxRequest } from '../../trusted/drivers/index.ts';
import { findRunsc, modes, World } from '../integration/driver-world.ts';

const runsc = findRunsc();

/** A host that listens, and counts who comes. */
class Bait {
  came = 0;
  #arrived: () => void = () => undefined;
  readonly somebody = new Promise<void>((resolve) => (this.#arrived = resolve));
  readonly #servers: Server[] = [];
  port = 0;

  async open(folder: string): Promise<void> {
    const tcp = await this.#listen({ host: '127.0.0.1', port: 0 });
    const address = tcp.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    await this.#listen({ path: '\0gb-host-abstract' });
    mkdirSync(join(folder, '.git'));
    const path = join(folder, '.git/fsmonitor--daemon.ipc');
    await this.#listen({ path });
    chmodSync(path, 0o777);
    execFileSync('mkfifo', ['-m', '666', join(folder, 'host-fifo')]);
  }

  close(): void {
    for (const server of this.#servers) server.close();
  }

  async #listen(where: { host: string; port: number } | { path: string }): Promise<Server> {
    const server = createServer((socket) => {
      this.came += 1;
      this.#arrived();
      socket.destroy();
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(where, resolve));
    return server;
  }
}

const lines = (text: string): Map<string, string> =>
  new Map(
    text
      .trim()
      .split('\n')
      .map((line) => line.split('\t') as [string, string]),
  );

describe.each(['staged', 'direct'] as const)('from inside a %s sandbox', (workspaceMode) => {
  describe.each(modes)('as %s', (mode) => {
    const world = new World(mode, runsc);
    const bait = new Bait();
    let request: SandboxRequest;
    let project: string;

    beforeAll(async () => {
      project = world.makeFolder(`project-${workspaceMode}`);
      copyFileSync(join(import.meta.dirname, 'sandbox-inside.py'), join(project, 'attack.py'));
      await bait.open(project);
      world.own(join(project, '.git'));
      request = world.request({
        workspace: { folder: project, mode: workspaceMode, show: [], readOnly: [] },
      });
      await world.start(request);
    });
    afterAll(async () => {
      bait.close();
      await world.close();
    });
    const attack = async (what: string): Promise<Map<string, string>> => {
      const argv = ['/usr/bin/python3', '/workspace/attack.py', what, String(bait.port)];
      const outcome = await world.run(request, argv, '/workspace');
      expect(outcome.stderr).toBe('');
      return lines(outcome.stdout);
    };

    test('control: what a program may do works', async () => {
      const came = await attack('controls');
      expect([...came.values()].filter((value) => value !== 'worked')).toEqual([]);
      expect(came.size).toBe(6);
    });

    test('[R23] no call makes or enters a namespace', async () => {
      const came = await attack('namespaces');
      expect(came.size).toBe(25);
      for (const [name, value] of came)
        expect(`${name}: ${value}`).toMatch(/: (EPERM|ENOSYS|EINVAL|EACCES)$/);
      for (const [name, value] of came) if (name.startsWith('clone3')) expect(value).toBe('ENOSYS');
    });

    test('[R23] no mount, device node, kernel interface or other user', async () => {
      const came = await attack('calls');
      expect(came.size).toBeGreaterThan(30);
      for (const [name, value] of came)
        expect(`${name}: ${value}`).toMatch(/: (EPERM|ENOSYS|EACCES|EINVAL)$/);
    });

    test('[R23] /proc, /dev, host files and Glovebox\u2019s own are closed; the agent holds nothing', async () => {
      const came = await attack('files');
      for (const [name, value] of came)
        // gVisor's own, not the host's: /dev/fuse is good for nothing without mount; for tun see the interfaces.
        if (
          /^(read|write) /.test(name) &&
          !['read /dev/fuse', 'read /dev/net/tun'].includes(name) &&
          !/\/root(\/etc\/passwd)?$/.test(name)
        )
          expect(`${name}: ${value}`).toMatch(/: E[A-Z]+$/);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd'])
        expect(came.get(set)).toBe('0000000000000000');
      expect(came.get('inherited descriptors')).toBe('none');
      expect(came.get('NoNewPrivs')).toBe('1');
      expect(came.get('uid')).toMatch(/^65534 65534 \[(65534)?\]$/);
    });

    test('[R13] no interface but loopback, no raw socket, no host socket in the workspace or elsewhere', async () => {
      const came = await attack('network');
      expect(came.get('interfaces')).toBe('lo');
      came.delete('interfaces');
      for (const [name, value] of came) expect(`${name}: ${value}`).not.toMatch(/: worked$/);
      expect(bait.came).toBe(0);
    });

    test('control: on the host the same sockets answer', async () => {
      const argv = [join(project, 'attack.py'), 'network', String(bait.port)];
      const child = spawn('/usr/bin/python3', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
      // Enough is known once the host's loopback has answered; the rest of the script tries the network.
      while (!text.includes('host loopback\t'))
        await new Promise((resolve) => child.stdout.once('data', resolve));
      expect(lines(text).get('host loopback')).toBe('worked');
      child.kill('SIGKILL');
      await bait.somebody;
    });
  });
});
