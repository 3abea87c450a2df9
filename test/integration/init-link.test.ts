import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { endOf, expectText } from './init-link-peer.ts';
import { inEachPlace } from './init-places.ts';

inEachPlace('init', ({ place, init, folder, connect, linked }) => {
  it('is silent until the trusted side says G, and speaks after it', async () => {
    const peer = connect();
    // Another byte than G ends init: all that it ever wrote by then is nothing.
    let heard = 0;
    peer.wire.on('data', (chunk: Buffer) => (heard += chunk.length));
    peer.wire.write('X');
    expect(await peer.ended).not.toBe(0);
    expect(peer.stderr).toContain('link began with 0x58');
    expect(heard).toBe(0);
    await linked();
  });

  it('reports exit codes, signals and the end of a group', async () => {
    const peer = await linked();
    expect((await peer.run(['sh', '-c', 'exit 7'])).exited).toMatchObject({ code: 7, signal: null });
    expect((await peer.run(['sh', '-c', 'kill -9 $$'])).exited).toMatchObject({ code: null, signal: 9 });
    peer.start('group', ['sh', '-c', 'sleep 1000 & echo ready; wait']);
    const stdout = await peer.stream('/v1/stdio/group/stdout');
    await expectText(stdout, /ready/);
    peer.send({ type: 'signal', id: 'group', signal: 15 });
    expect(await peer.event('exited', 'group')).toMatchObject({ code: null, signal: 15 });
    // The sleep was in the group, so nobody holds the pipe any more.
    await endOf(stdout);
  });

  it('says why a program cannot start', async () => {
    const peer = await linked();
    await expect(peer.run(['no-such-program'])).rejects.toThrow(/^ENOENT: no-such-program/);
    await expect(peer.run(['/tmp'])).rejects.toThrow(/^EACCES/);
    await expect(peer.run(['true'], { cwd: '/nowhere' })).rejects.toThrow(
      /^ENOENT: working directory \/nowhere/,
    );
    peer.start('main', ['sleep', '1000']);
    await peer.event('started', 'main');
    peer.start('main', ['true']);
    expect(await peer.event('failed', 'main')).toMatchObject({ code: 'EEXIST' });
  });

  it('starts nothing where its way out could not be made', async () => {
    const peer = await linked();
    peer.send({
      type: 'configure',
      listen: ['api', 'egress'].map((tunnel) => ({ address: '127.0.0.1:48123', tunnel })),
    });
    peer.start('main', ['true']);
    expect(await peer.event('failed', '')).toMatchObject({ id: '' });
    expect(await peer.event('failed', 'main')).toMatchObject({ id: 'main' });
    peer.send({ type: 'configure', listen: [{ address: '127.0.0.1:0', tunnel: 'api' }] });
    await peer.event('configured');
    peer.start('main', ['true']);
    expect(await peer.event('exited', 'main')).toMatchObject({ code: 0 });
  });

  it('carries 100 MB through stdin and stdout exactly', async () => {
    const peer = await linked();
    const bytes = randomBytes(100 << 20);
    const result = await peer.run(['cat'], { stdin: bytes });
    expect(result.stdout.length).toBe(bytes.length);
    expect(sha256(result.stdout)).toBe(sha256(bytes));
    expect(result.exited).toMatchObject({ code: 0 });
  });

  it('gives a process 0, 1, 2 and what was sent as 3, and nothing else', async () => {
    const peer = await linked();
    const list = 'import os; print([fd for fd in range(256) if os.path.exists(f"/proc/self/fd/{fd}")])';
    expect((await peer.python(list)).stdout.toString()).toBe('[0, 1, 2]\n');
    const secret = randomBytes(100_000);
    const got = await peer.run(['sh', '-c', 'cat <&3; echo >&2 $(ls /proc/$$/fd)'], { fd3: secret });
    expect(got.stdout.equals(secret)).toBe(true);
    expect(got.stderr.toString().split(' ').map(Number).slice(0, 4)).toEqual([0, 1, 2, 3]);
  });

  it('ends the output of an exited process that a background child still holds', async () => {
    const peer = await linked();
    const result = await peer.run(['sh', '-c', 'sleep 1000 & echo $!; exit 3']);
    expect(result.exited).toMatchObject({ code: 3 });
    // The holder is still there: its end is not what ended the stream.
    const holder = result.stdout.toString().trim();
    expect((await peer.run(['sh', '-c', `kill ${holder}`], { id: 'second' })).exited).toMatchObject({
      code: 0,
    });
  });

  it('reaps the orphans of the sandbox', async () => {
    const peer = await linked();
    await peer.run(['sh', '-c', '(sleep 0.01 &) ; (true &)']);
    // An orphan that nobody reaps stays in /proc as Z.
    const zombies = `
import os, time
def state(): return [p for p in os.listdir('/proc') if p.isdigit() and stat(p)]
def stat(p):
    try: f = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
    except OSError: return False
    return f[0] == 'Z' and f[1] == str(os.getppid())
pid = os.fork()
if pid == 0:
    if os.fork() == 0: os._exit(0)
    os._exit(0)
os.waitpid(pid, 0)
while state(): time.sleep(0.01)
print('none')`;
    expect((await peer.python(zombies)).stdout.toString()).toBe('none\n');
  });

  it('gives a terminal a name, a size, its new size and its keys', async () => {
    const peer = await linked();
    // sigwait, so that no signal falls between a check and a read.
    const script = `
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH, signal.SIGINT])
print(os.ttyname(0), *os.get_terminal_size(0), os.getsid(0) == os.getpid(), os.tcgetpgrp(0) == os.getpid(), flush=True)
assert signal.sigwait([signal.SIGWINCH, signal.SIGINT]) == signal.SIGWINCH
print('resized', *os.get_terminal_size(0), flush=True)
assert signal.sigwait([signal.SIGINT]) == signal.SIGINT
print('interrupted', flush=True)
print('got', input())
sys.exit(5)`;
    peer.start('main', ['python3', '-c', script], { terminal: { rows: 31, cols: 97 } });
    const terminal = await peer.stream('/v1/stdio/main/terminal');
    expect(await expectText(terminal, /\n/)).toMatch(/^\/dev\/pts\/\d+ 97 31 True True\r\n$/);
    peer.send({ type: 'resize', id: 'main', rows: 40, cols: 120 });
    await expectText(terminal, /resized 120 40/);
    peer.send({ type: 'signal', id: 'main', signal: 2 });
    await expectText(terminal, /interrupted/);
    terminal.write('hello\r');
    await expectText(terminal, /got hello/);
    expect(await peer.event('exited', 'main')).toMatchObject({ code: 5 });
    await endOf(terminal);
  });

  it('delivers a resize and SIGINT to the foreground job of a shell with job control', async () => {
    const peer = await linked();
    peer.start('main', ['bash', '--norc', '-i'], { terminal: { rows: 24, cols: 80 }, env: ['PS1=prompt-'] });
    const terminal = await peer.stream('/v1/stdio/main/terminal');
    await expectText(terminal, /prompt-/);
    const watcher = [
      'import signal as s, os',
      'both = [s.SIGWINCH, s.SIGINT]',
      's.pthread_sigmask(s.SIG_BLOCK, both)',
      'print("wat"+"ching", flush=True)',
      'while s.sigwait(both) == s.SIGWINCH: print("si"+"ze", *os.get_terminal_size(), flush=True)',
    ].join('\n');
    terminal.write(`python3 -c '${watcher}'\r`);
    await expectText(terminal, /watching/);
    peer.send({ type: 'resize', id: 'main', rows: 50, cols: 101 });
    await expectText(terminal, /size 101 50/);
    peer.send({ type: 'signal', id: 'main', signal: 2 });
    await expectText(terminal, /prompt-/);
    terminal.write('exit 4\r');
    expect(await peer.event('exited', 'main')).toMatchObject({ code: 4 });
  });

  it('survives commands that make no sense', async () => {
    const peer = await linked();
    const senseless = [
      '',
      '[]',
      'null',
      '{"type":"start"',
      '{"type":"start","id":"../x","argv":["true"],"cwd":"/"}',
      '{"type":"start","id":"main","argv":[],"cwd":"/"}',
      '{"type":"start","id":"main","argv":["/a\\u0000b"],"cwd":"/"}',
      '{"type":"start","id":"main","argv":["true"],"cwd":"/","terminal":{"rows":0,"cols":1e9}}',
      '{"type":"signal","id":"main","signal":-9}',
      '{"type":"configure","listen":[{"address":"0.0.0.0:1","tunnel":"api"}]}',
      '{"type":"surprise","id":"main"}',
      `{"type":"signal","id":"${'x'.repeat(500_000)}","signal":9}`,
    ];
    for (const line of senseless) {
      peer.sendLine(line);
      expect(await peer.event('failed'), line.slice(0, 80)).toMatchObject({ code: 'EINVAL' });
    }
    peer.send({ type: 'signal', id: 'nobody', signal: 9 });
    peer.send({ type: 'resize', id: 'nobody', rows: 1, cols: 1 });
    expect((await peer.run(['echo', 'well'])).stdout.toString()).toBe('well\n');
    peer.sendLine('x'.repeat(2 << 20));
    expect(await peer.ended).not.toBe(0);
    expect(peer.stderr).toContain('longer than 1 MiB');
  });

  it('[R23] lets no process make or enter a namespace, nor take a descriptor of init', async () => {
    const peer = await linked();
    const attempts = `
import ctypes, os, errno, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    r = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if r == 0 and args[0] in (56, 435): os._exit(0)
    return 'done' if r >= 0 else errno.errorcode[ctypes.get_errno()]
NEWUSER = 0x10000000
args = (ctypes.c_uint64 * 11)(NEWUSER, 0, 0, 0, 17)
out = {
  'unshare': call(272, NEWUSER), 'unshare-net': call(272, 0x40000000),
  'clone': call(56, NEWUSER | 17, 0, 0, 0, 0), 'clone-high': call(56, NEWUSER | 17 | 1 << 40, 0, 0, 0, 0),
  'clone3': call(435, ctypes.byref(args), 88),
  'setns': call(308, os.open('/proc/self/ns/user', os.O_RDONLY) if os.path.exists('/proc/self/ns/user') else 0, 0),
  'control-unshare-files': call(272, 0x400), 'control-clone': call(56, 17, 0, 0, 0, 0),
}
init = os.getppid()
pidfd = call(434, init, 0)
fd = libc.syscall(434, init, 0)
out['getfd'] = sorted({call(438, fd, n, 0) for n in range(16)})
own = libc.syscall(434, os.getpid(), 0)
out['control-getfd'] = call(438, own, 1, 0)
out['ptrace'] = call(101, 16, init, 0, 0)
print(out)
print(libc.prctl(39, 0, 0, 0, 0)) # PR_GET_NO_NEW_PRIVS
t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()`;
    const result = await peer.python(attempts);
    expect(result.stderr.toString()).toBe('');
    const [answers = '', nnp, thread] = result.stdout.toString().split('\n');
    const parsed = JSON.parse(answers.replaceAll("'", '"')) as Record<string, string | string[]>;
    expect(parsed).toMatchObject({
      unshare: 'EPERM',
      'unshare-net': 'EPERM',
      clone: 'EPERM',
      'clone-high': 'EPERM',
      clone3: 'ENOSYS',
      setns: 'EPERM',
      'control-unshare-files': 'done',
      'control-clone': 'done',
      'control-getfd': 'done',
      getfd: ['EPERM'],
      ptrace: 'EPERM',
    });
    expect(nnp).toBe('1');
    expect(thread).toBe('thread');
  });

  it('ends everything on stop, and when the link is cut', async () => {
    const stopped = await linked();
    stopped.start('main', ['sleep', '1000']);
    const pid = Number((await stopped.event('started', 'main'))['pid']);
    stopped.send({ type: 'stop' });
    expect(await stopped.ended).toBe(0);
    if (place === 'host') await expect.poll(() => existsSync(`/proc/${pid}/exe`)).toBe(false);
    const cut = await linked();
    cut.start('main', ['sleep', '1000']);
    await cut.event('started', 'main');
    cut.wire.destroy();
    expect(await cut.ended).not.toBe(0);
  });

  it('runs node, git and a Go program', async () => {
    const peer = await linked();
    const node = place === 'host' ? process.execPath : '/node';
    const script = 'new (require("worker_threads").Worker)("console.log(6*7)",{eval:true})';
    expect((await peer.run([node, '-e', script])).stdout.toString()).toBe('42\n');
    const git = await peer.run(
      ['sh', '-c', 'git init -q r && cd r && git commit -q --allow-empty -m x && git log --oneline | wc -l'],
      {
        env: ['GIT_AUTHOR_NAME=a', 'GIT_AUTHOR_EMAIL=a@b', 'GIT_COMMITTER_NAME=a', 'GIT_COMMITTER_EMAIL=a@b'],
        ...(place === 'host' ? { cwd: folder } : {}),
      },
    );
    expect(git.stdout.toString().trim()).toBe('1');
    // init is a Go program: started without a link it says so, from a child of itself.
    const go = await peer.run([place === 'host' ? init : '/init']);
    expect(go.stderr.toString()).toContain('no link');
    expect(go.exited).toMatchObject({ code: 1 });
  });
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
