import { createServer, type AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { collect, type InitPeer } from './init-link-peer.ts';
import { inEachPlace } from './init-places.ts';

inEachPlace("init's listeners", ({ place, linked }) => {
  const listening = async (peer: InitPeer): Promise<number> => {
    const port = place === 'host' ? await freePort() : 9090;
    peer.send({ type: 'configure', listen: [{ address: `127.0.0.1:${port}`, tunnel: 'api' }] });
    await peer.event('configured');
    return port;
  };

  it('carries loopback connections: echo, half close both ways, reset both ways', async () => {
    const peer = await linked();
    const port = await listening(peer);
    const client = (body: string): ReturnType<InitPeer['run']> =>
      peer.python(`import socket,struct\ns=socket.create_connection(('127.0.0.1',${port}))\n${body}`);
    const echo = await client(
      `import threading
data=bytes(range(256))*20000
threading.Thread(target=lambda:(s.sendall(data),s.shutdown(1))).start()
got=b''
while True:
    part=s.recv(65536)
    if not part: break
    got+=part
print(got==data)`,
    );
    expect(echo.stderr.toString()).toBe('');
    expect(echo.stdout.toString()).toBe('True\n');

    // The trusted side ends first, and still reads on.
    const upward = new Promise<Buffer>((done, failed) => {
      peer.onTunnel = (name, stream) => {
        expect(name).toBe('api');
        stream.respond({ ':status': 200 });
        stream.end('answer');
        collect(stream).then(done, failed);
      };
    });
    const half = await client(`print(s.makefile().read()); s.sendall(b'after'); s.close()`);
    expect(half.stdout.toString()).toBe('answer\n');
    expect((await upward).toString()).toBe('after');

    peer.onTunnel = (_name, stream) => {
      stream.respond({ ':status': 200 });
      stream.write('partial');
      stream.destroy(new Error('cut')); // close(8) would send END_STREAM before the reset
    };
    const reset = await client(`try:
    while s.recv(100): pass
    print('end')
except ConnectionResetError: print('reset')`);
    expect(reset.stdout.toString()).toBe('reset\n');

    const aborted = new Promise<number>((done) => {
      peer.onTunnel = (_name, stream) => {
        stream.respond({ ':status': 200 });
        stream.on('close', () => done(stream.rstCode)).resume();
      };
    });
    await client(
      `s.sendall(b'x'); s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); s.close()`,
    );
    expect(await aborted).toBe(8);

    // Control: after all of these the link still carries.
    peer.onTunnel = (_name, stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    };
    expect(
      (await client(`s.sendall(b'ok'); s.shutdown(1); print(s.makefile().read())`)).stdout.toString(),
    ).toBe('ok\n');
  });

  it('keeps the control stream alive while every tunnel is stalled and more are asked for', async () => {
    const peer = await linked();
    const port = await listening(peer);
    let open = 0;
    let most = 0;
    peer.onTunnel = (_name, stream) => {
      most = Math.max(most, ++open);
      stream.respond({ ':status': 200 }); // and reads nothing
      stream.write(Buffer.alloc(1 << 16));
      stream.on('close', () => open--);
    };
    const script = `import socket,time
c=[]
for i in range(300):
    s=socket.create_connection(('127.0.0.1',${port})); s.setblocking(False); c.append(s)
for s in c:
    try:
        while True: s.send(b'x'*65536)
    except OSError: pass
print('full')`;
    const result = await peer.python(script);
    expect(result.stdout.toString()).toBe('full\n');
    expect((await peer.run(['echo', 'still here'], { id: 'second' })).stdout.toString()).toBe('still here\n');
    expect(most).toBeLessThanOrEqual(256);
    await peer.event('heartbeat');
  });

  it('keeps its link when the agent resets connections as fast as it can', async () => {
    const peer = await linked();
    const port = await listening(peer);
    let reset = 0;
    peer.onTunnel = (_name, stream) => {
      stream.respond({ ':status': 200 });
      stream.on('close', () => (reset += stream.rstCode === 8 ? 1 : 0)).resume();
    };
    const script = `import socket,struct
for i in range(3000):
    s=socket.create_connection(('127.0.0.1',${port})); s.sendall(b'x')
    s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); s.close()`;
    peer.start('main', ['python3', '-c', script]);
    await expect.poll(() => reset).toBeGreaterThan(400);
    // At the pace so far all 3000 would be through after the second heartbeat, and Node ends a connection
    // after 1000 resets at once.
    peer.forget('heartbeat');
    await peer.event('heartbeat');
    await peer.event('heartbeat');
    expect((await peer.run(['echo', 'still here'], { id: 'second' })).stdout.toString()).toBe('still here\n');
    expect(reset).toBeLessThan(1000);
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
