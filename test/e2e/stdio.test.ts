import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionView } from '../../pure/contracts/index.ts';
import { onTerminal } from './terminal.ts';
import { until } from './until.ts';
import { World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = new World();
  await world.waive();
});
afterAll(() => world.close());

/** What the child wrote so far, and its end. */
function watched(child: ChildProcess): {
  readonly text: () => string;
  readonly closed: Promise<{ readonly code: number | null; readonly signal: string | null }>;
} {
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return {
    text: () => text,
    closed: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal }))),
  };
}

const ended = (name: string): Promise<SessionView> =>
  until(`${name} ends`, async () => {
    const session = await world.session(name);
    return session.state === 'ended' && session;
  });

describe('bytes through pipes', () => {
  it('a command reads the end of an input that was empty', async () => {
    expect(await world.glovebox(['run', '--', 'wc', '-c'])).toMatchObject({ code: 0, out: '0\n' });
  });

  it('[R47] 100 MB of binary go in and come out as they are', async () => {
    const megabyte = 1 << 20;
    const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
    const [sent, received] = [createHash('sha256'), createHash('sha256')];
    let count = 0;
    const child = world.start(['run', '--', 'cat']);
    const { stdin, stdout } = child;
    if (stdin === null || stdout === null) throw new Error('no pipes');
    stdout.on('data', (chunk: Buffer) => {
      count += chunk.length;
      received.update(chunk);
    });
    const source = function* (): Generator<Buffer> {
      for (let part = 0; part < 100; part += 1) {
        const bytes = cipher.update(Buffer.alloc(megabyte));
        sent.update(bytes);
        yield bytes;
      }
    };
    await pipeline(Readable.from(source(), { objectMode: false }), stdin);
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(count).toBe(100 * megabyte);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('[R47] every byte value, stderr apart from stdout, no line end added', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    writeFileSync(join(world.project, 'every.bin'), every);
    const child = world.start(['run', '--', 'sh', '-c', 'cat every.bin; printf "only here" >&2']);
    child.stdin?.end();
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    await once(child, 'close');
    expect(Buffer.concat(out).equals(every)).toBe(true);
    expect(Buffer.concat(err).toString()).toMatch(/only here$/);
  });
});

describe('the end of a command', () => {
  it.each([0, 7, 255])('its exit code %i is the exit code of run', async (code) => {
    expect((await world.glovebox(['run', '--', 'sh', '-c', `exit ${code}`])).code).toBe(code);
  });

  it.each([
    ['KILL', 137],
    ['TERM', 143],
    ['SEGV', 139],
  ])('its death by SIG%s is %i', async (signal, code) => {
    expect((await world.glovebox(['run', '--', 'sh', '-c', `kill -${signal} $$`])).code).toBe(code);
  });

  it('a command that does not exist is 127, one that cannot be run 126, and no session was begun', async () => {
    writeFileSync(join(world.project, 'notes.txt'), 'no program\n');
    chmodSync(join(world.project, 'notes.txt'), 0o644);
    const before = (await world.sessions()).length;
    const absent = await world.glovebox(['run', '--', 'no-such-program']);
    expect([absent.code, absent.out]).toEqual([127, '']);
    expect(absent.err).toMatch(/^glovebox: There is no command no-such-program to run\.\n/);
    expect((await world.glovebox(['run', '--', './none'])).code).toBe(127);
    const inert = await world.glovebox(['run', '--', './notes.txt']);
    expect([inert.code, inert.out]).toEqual([126, '']);
    expect(inert.err).toContain('chmod +x');
    expect((await world.glovebox(['run', '--', '/usr'])).code).toBe(126);
    expect((await world.sessions()).length).toBe(before);
  });

  it('a program that the kernel cannot execute is 126, and says so', async () => {
    writeFileSync(join(world.project, 'broken'), '\u0000\u0001 not a program', { mode: 0o755 });
    const { code, err } = await world.glovebox(['run', '--', './broken']);
    expect(code).toBe(126);
    expect(err).toContain('could not be started');
  });

  it('[R26] its time limit ends it with 124 and the reason', async () => {
    const { code, err } = await world.glovebox([
      'run',
      '--ttl',
      '2s',
      '--name',
      'short',
      '--',
      'sleep',
      '600',
    ]);
    expect(code).toBe(124);
    expect(err.match(/time limit/g)).toHaveLength(1);
    expect(await world.session('short')).toMatchObject({ state: 'ended', reason: 'time-limit' });
  });
});

describe('signals', () => {
  it.each([
    ['SIGINT', 'INT'],
    ['SIGTERM', 'TERM'],
    ['SIGHUP', 'HUP'],
  ] as const)('%s of run is told to the command, which may end in its own way', async (signal, name) => {
    const script = `trap 'echo told ${name}; exit 9' ${name}; echo ready; while :; do sleep 0.05; done`;
    const child = world.start(['run', '--', 'sh', '-c', script]);
    const { text, closed } = watched(child);
    await until('it is ready', () => text().includes('ready'));
    child.kill(signal);
    expect(await closed).toEqual({ code: 9, signal: null });
    expect(text()).toContain(`told ${name}`);
  });

  it('[R46] run killed with SIGKILL: its session ends, its changes are kept', async () => {
    const child = world.start([
      'run',
      '--name',
      'orphan',
      '--',
      'sh',
      '-c',
      'echo 1 > left.txt; echo ready; sleep 600',
    ]);
    const { text, closed } = watched(child);
    await until('it is ready', () => text().includes('ready'));
    child.kill('SIGKILL');
    await closed;
    expect(await ended('orphan')).toMatchObject({ reason: 'client-gone', changes: 'kept' });
  });
});

describe('what a command has', () => {
  it('a Python script works in the folder: reads its input, writes a file that stays staged', async () => {
    const script =
      'import sys\nopen("sum.txt", "w").write(str(sum(int(n) for n in sys.stdin)))\nprint("summed")\n';
    writeFileSync(join(world.project, 'sum.py'), script);
    const { code, out, err } = await world.glovebox(['run', '--', 'python3', 'sum.py'], {
      input: '1\n2\n39\n',
    });
    expect([code, out]).toEqual([0, 'summed\n']);
    expect(err).toContain('1 staged change (1 added)');
    expect(existsSync(join(world.project, 'sum.txt'))).toBe(false);
    expect((await world.glovebox(['diff'])).out).toContain('+42');
    expect((await world.glovebox(['apply'])).out).toContain('1 applied');
    expect(readFileSync(join(world.project, 'sum.txt'), 'utf8')).toBe('42');
    const [session] = (await world.sessions()).filter(({ command }) => command[0] === 'python3');
    expect(session?.changes).toBe('applied');
    expect((await world.glovebox(['diff', session?.name ?? ''])).out).toBe('');
  });

  it('-t gives it a terminal where stdin and stdout are pipes', async () => {
    const { out, code } = await world.glovebox([
      'run',
      '-t',
      '--',
      'sh',
      '-c',
      'test -t 0 && test -t 1 && stty size',
    ]);
    expect([code, out.trim()]).toEqual([0, '24 80']);
    const without = await world.glovebox(['run', '--', 'sh', '-c', 'test -t 0 || echo none']);
    expect(without.out).toBe('none\n');
  });

  it('-i sends what is typed to a command without a terminal; without -i it has none of it', async () => {
    const file = join(world.project, 'heard');
    const typed = onTerminal(world, ['run', '-i', '--', 'sh', '-c', 'echo go; cat'], ` > '${file}'`);
    await until('it reads', () => existsSync(file) && readFileSync(file, 'utf8').includes('go'));
    typed.type('hello there\r\u0004');
    expect(await typed.finished).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('go\nhello there\n');
    const deaf = onTerminal(world, ['run', '--', 'cat'], ` > '${file}'`);
    expect(await deaf.finished).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  it('a shell on a pseudo-terminal: prompt, size, job control, Ctrl-C, exit code', async () => {
    const shell = onTerminal(world, ['run', '--', 'bash', '--norc', '--noprofile']);
    await shell.shows(/\$ $/);
    shell.type('stty size; tty\r');
    await shell.shows(/24 80\s+\/dev\/pts\/\d+/);
    shell.type('sleep 600\r');
    await shell.shows(/sleep 600\s/);
    const mark = shell.screen().length;
    shell.type('\u0003');
    await shell.shows(/\$ $/, mark);
    shell.type('echo "status $?"\r');
    await shell.shows(/status 130/);
    shell.type('exit 5\r');
    expect(await shell.finished).toBe(5);
  });
});

describe('sessions that nobody waits for', () => {
  it('--detach, attach, logs, ps and stop', async () => {
    const begun = await world.glovebox([
      'run',
      '--detach',
      '--name',
      'aside',
      '--',
      'sh',
      '-c',
      'echo begun; sleep 600',
    ]);
    expect([begun.code, begun.out]).toEqual([0, 'aside\n']);
    await until('it wrote', async () => (await world.glovebox(['logs', 'aside'])).out.includes('begun'));
    const [row] = JSON.parse((await world.glovebox(['ps', '--json'])).out) as SessionView[];
    expect(row).toMatchObject({ name: 'aside', state: 'running', user: `local/${process.getuid?.() ?? 0}` });
    expect((await world.glovebox(['ps'])).out).toMatch(/NAME .*STATE[\s\S]*aside .*running/);
    const attached = world.start(['attach', 'aside']);
    const { text, closed } = watched(attached);
    await until('attach shows what was written', () => text().includes('begun'));
    const stopped = await world.glovebox(['stop', 'aside']);
    expect([stopped.code, stopped.out]).toEqual([0, 'aside has ended.\n']);
    expect((await closed).code).toBe(143);
    expect(await world.session('aside')).toMatchObject({ state: 'ended', reason: 'stopped' });
    expect((await world.glovebox(['logs', 'aside'])).out).toBe('begun\n');
    const late = await world.glovebox(['attach', 'aside']);
    expect(late.code).not.toBe(0);
    expect(late.err).toContain('ended');
  });

  it('a name that a running session has is refused, and free again after its end', async () => {
    await world.glovebox(['run', '--detach', '--name', 'taken', '--', 'sleep', '600']);
    const second = await world.glovebox(['run', '--name', 'taken', '--', 'true']);
    expect(second.code).not.toBe(0);
    expect(second.err).toContain('taken');
    expect((await world.sessions()).filter(({ name }) => name === 'taken')).toHaveLength(1);
    await world.glovebox(['stop', 'taken']);
    expect((await world.glovebox(['run', '--name', 'taken', '--', 'true'])).code).toBe(0);
  });
});

describe('[R27] --env', () => {
  const key = `sk-ant-${'x9Kq'.repeat(8)}`;

  it('refuses what looks like a key, says how to do it, and does not repeat the value', async () => {
    const { code, out, err } = await world.glovebox(['run', '--env', `API_KEY=${key}`, '--', 'env']);
    expect([code, out]).toEqual([64, '']);
    expect(err).toContain('secret set');
    expect(err).not.toContain(key);
    const plain = await world.glovebox(['run', '--env-plain', `API_KEY=${key}`, '--', 'printenv', 'API_KEY']);
    expect([plain.code, plain.out]).toEqual([0, `${key}\n`]);
  });

  it('puts a placeholder in the place of a secret that is set, and refuses one that is not', async () => {
    const unset = await world.glovebox(['run', '--env', 'TOKEN=secret:deploy', '--', 'env']);
    expect([unset.code, unset.out]).toEqual([78, '']);
    expect(unset.err).toContain('glovebox secret set deploy');
    expect((await world.glovebox(['secret', 'set', 'deploy'], { input: key })).code).toBe(0);
    const { code, out } = await world.glovebox(['run', '--env', 'TOKEN=secret:deploy', '--', 'env']);
    expect(code).toBe(0);
    expect(out).toMatch(/^TOKEN=gb-placeholder-/m);
    expect(out).not.toContain(key);
  });

  it('passes on what is no key, and nothing of the person’s own environment', async () => {
    const { out } = await world.glovebox(['run', '--env', 'MODE=fast', '--', 'env'], {
      env: { PRIVATE_NOTE: 'mine' },
    });
    expect(out).toMatch(/^MODE=fast$/m);
    expect(out).not.toContain('PRIVATE_NOTE');
  });
});
