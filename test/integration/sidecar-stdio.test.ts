import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { read } from './sidecar-process.ts';
import { SidecarWorld } from './sidecar-world.ts';

let world: SidecarWorld;
beforeAll(async () => {
  world = await SidecarWorld.start();
});
afterAll(() => world.close());

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}
const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a command under a real sidecar and the real init', () => {
  it('[R47] carries 100 MB of binary through pipes both ways, byte for byte, and its exit code last', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/sh', '-c', 'cat; echo done >&2; exit 7'], { waitForAttach: true });
    const client = await sidecar.attach();
    const stdin = client.open('/v1/stdio/stdin');
    const stdout = read(client.output('stdout'));
    const stderr = read(client.output('stderr'));
    const events = client.events();
    const sent = randomBytes(100_000_000);
    const from = performance.now();
    Readable.from(pieces(sent)).pipe(stdin);
    const got = await stdout;
    console.log(`100 MB both ways in ${(performance.now() - from).toFixed(0)} ms`);
    expect(got.length).toBe(sent.length);
    expect(sum(got)).toBe(sum(sent));
    expect((await stderr).toString()).toBe('done\n');
    expect(await sidecar.report('exited')).toEqual({ type: 'exited', code: 7, signal: null });
    sidecar.send({ type: 'end', reason: 'exited' });
    expect((await events).at(-1)).toEqual({ type: 'exited', code: 7, signal: null, reason: 'exited' });
    expect(await sidecar.exited).toBe(0);
  });

  it('starts only when the foreground client is there', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/echo', 'hello'], { waitForAttach: true });
    const watcher = await sidecar.attach(false);
    const watched = read(watcher.output('stdout'));
    watcher.output('stderr').resume();
    await once(watcher.control, 'data');
    expect(sidecar.reports.some((report) => report.type === 'started')).toBe(false);
    const client = await sidecar.attach();
    const stdout = read(client.output('stdout'));
    client.output('stderr').resume();
    expect((await stdout).toString()).toBe('hello\n');
    expect((await watched).toString()).toBe('hello\n');
  });

  it('goes on detached: its output is in the log and is shown to who comes later', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/sh', '-c', 'echo early; read line; echo "got $line"']);
    await sidecar.report('started');
    const client = await sidecar.attach();
    const stdin = client.open('/v1/stdio/stdin');
    const stdout = read(client.output('stdout'));
    client.output('stderr').resume();
    stdin.end('word\n');
    expect((await stdout).toString()).toBe('early\ngot word\n');
    await sidecar.report('exited');
    expect(readFileSync(sidecar.logPath, 'utf8')).toBe('early\ngot word\n');
  });

  it('a command that does not exist is a failed start', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/no/such/program']);
    expect(await sidecar.report('failed')).toMatchObject({ reason: 'start-failed', code: 'ENOENT' });
  });

  it('[R46] a sandbox that dies is told, and who is attached learns why', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/sleep', '60'], { waitForAttach: true });
    const client = await sidecar.attach();
    client.output('stdout').resume();
    client.output('stderr').resume();
    const events = client.events();
    const { pid } = await sidecar.report('started');
    sidecar.init?.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    expect(await sidecar.report('failed')).toMatchObject({ reason: 'sandbox-died' });
    sidecar.send({ type: 'end', reason: 'memory-limit' });
    expect((await events).at(-1)).toEqual({
      type: 'exited',
      code: null,
      signal: null,
      reason: 'memory-limit',
    });
    expect(await sidecar.exited).toBe(0);
  });

  it('[R46] ends at once when the control plane is gone', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/sleep', '60']);
    await sidecar.report('started');
    const gone = once(sidecar.init!, 'exit');
    sidecar.child.disconnect();
    expect(await sidecar.exited).toBe(0);
    await gone;
  });

  it('a terminal: both ways, the smallest window wins, signals arrive', async () => {
    const sidecar = await world.sidecar();
    await sidecar.openTurn();
    sidecar.activate(['/bin/sh', '-c', 'stty -echo; echo ready; read a; stty size; read b; stty size'], {
      terminal: true,
      waitForAttach: true,
    });
    const [one, two] = [await sidecar.attach(), await sidecar.attach(false)];
    const [first, second] = [one.open('/v1/stdio/terminal'), two.open('/v1/stdio/terminal')];
    let seen = '';
    first.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    second.resume();
    const until = async (text: string): Promise<void> => {
      while (!seen.includes(text)) await once(first, 'data');
    };
    await until('ready');
    one.send({ type: 'resize', rows: 50, cols: 100 });
    two.send({ type: 'resize', rows: 40, cols: 132 });
    // The control stream of each client is read in order; the sizes arrive before what is typed after an answer to them.
    await sidecar.attach(false);
    first.write('\n');
    await until('40 100');
    two.send({ type: 'detach' });
    await sidecar.report('detached', (report) => report.orderly);
    first.write('\n');
    await until('50 100');
    expect(await sidecar.report('exited')).toMatchObject({ code: 0 });
  });
});
