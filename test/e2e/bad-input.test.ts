import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { descendants, isAlive, remainsOf } from './remains.ts';
import { until } from './until.ts';
import { World, type Ran } from './world.ts';

let world: World;
beforeAll(async () => {
  world = new World();
  await world.waive();
});
afterAll(() => world.close());

interface Told {
  readonly error: {
    readonly code: string;
    readonly what: string;
    readonly why: string;
    readonly todo: string;
  };
}

/** One error: what, why, what to do, and nothing else; with --json the same as one object. */
async function refused(
  args: readonly string[],
  exit: number,
  code: string,
  text: RegExp,
): Promise<Told['error']> {
  const plain = await world.glovebox(args);
  expect([plain.code, plain.out]).toEqual([exit, '']);
  const said = linesOf(plain);
  expect(said[0]).toMatch(/^glovebox: /);
  expect(said).toHaveLength(3);
  expect(plain.err).toMatch(text);
  const [command = '', ...rest] = args;
  const told = await world.glovebox([command, '--json', ...rest]);
  expect([told.code, told.out]).toEqual([exit, '']);
  const { error } = JSON.parse(told.err) as Told;
  expect(error.code).toBe(code);
  expect(said[0]).toBe(`glovebox: ${error.what}`);
  return error;
}

/** Progress of a start is not part of an error. */
const linesOf = ({ err }: Ran): string[] =>
  err.split('\n').filter((line) => line !== '' && line !== 'glovebox: starting the control plane…');

describe('a policy', () => {
  const policy = (text: string): string[] => {
    writeFileSync(join(world.project, 'policy.yaml'), text);
    return ['run', '--policy', 'policy.yaml', '--', 'true'];
  };

  it('with an unknown key is refused with file, line, column and the nearest key', async () => {
    const error = await refused(
      policy('version: 1\negress:\n  - host: api.example\n    metods: [GET]\n'),
      65,
      'GB_POLICY_INVALID',
      /policy\.yaml:4:5: unknown key "metods"/,
    );
    expect(error.todo).toContain('"methods"');
    // The control: the nearest key is the right one.
    const right = policy('version: 1\negress:\n  - host: api.example\n    methods: [GET]\n');
    expect((await world.glovebox(right)).code).toBe(0);
  });

  it('that is no YAML, or not there, is refused', async () => {
    await refused(policy('version: 1\n  tools: ]\n'), 65, 'GB_POLICY_INVALID', /policy\.yaml:\d+:\d+: /);
    await refused(
      ['run', '--policy', 'none.yaml', '--', 'true'],
      64,
      'GB_INPUT_INVALID',
      /there is no such file/,
    );
  });

  it('begins no session', async () => {
    const before = (await world.sessions()).length;
    const sandboxes = (): string[] => remainsOf(world).filter((line) => line.startsWith('run folder'));
    const sandboxesBefore = sandboxes();
    await world.glovebox(policy('version: 1\nnonsense: true\n'));
    expect((await world.sessions()).length).toBe(before);
    expect(sandboxes()).toEqual(sandboxesBefore);
  });
});

describe('a workspace', () => {
  it.each([
    ['the whole machine', (): string => '/', /whole machine/],
    ['the home folder', (): string => world.home, /holds your home folder/],
    ['what holds the home folder', (): string => world.folder, /holds your home folder/],
    ['Glovebox’s own state', (): string => world.state, /own state/],
    ['missing', (): string => join(world.project, 'none'), /does not exist/],
    ['a file', (): string => join(world.project, 'a-file'), /not a folder/],
    ['the kernel’s', (): string => '/proc/self', /kernel/],
  ])('that is %s is refused', async (_, folder, text) => {
    writeFileSync(join(world.project, 'a-file'), '');
    await refused(['run', '--workspace', folder(), '--', 'true'], 65, 'GB_WORKSPACE_REFUSED', text);
  });

  it('is the current folder where none is named: the home folder is refused then too', async () => {
    const { code, err } = await world.glovebox(['run', '--', 'true'], { cwd: world.home });
    expect([code, linesOf({ code, err, out: '' }).length]).toEqual([65, 3]);
  });
});

describe('a command line', () => {
  it.each([
    [['run', '--tier', 'gigantic', '--', 'true'], 64],
    [['run', '--ttl', 'soon', '--', 'true'], 64],
    [['run', '--name', 'Not A Name', '--', 'true'], 64],
    [['run', '--env', '9=1', '--', 'true'], 64],
    [['run', '--preset', 'nobody', '--', 'true'], 66],
    [['run', '--'], 64],
    [['attach', 'nobody'], 66],
    [['stop', 'nobody'], 66],
    [['diff', 'nobody'], 66],
    [['audit', 'frobnicate'], 64],
    [['doctor', '--waive', 'seccomp'], 64],
    [['frobnicate'], 64],
    [['run', '--frobnicate', '--', 'true'], 64],
    [['policy', 'frobnicate'], 64],
    [['policy', 'set'], 64],
    [['policy', 'show', 'nobody'], 66],
    [['logs', 'nobody', '--follow'], 66],
    [['secret', 'set', 'Not A Name'], 64],
  ] as const)('%j is one clear error', async (args, exit) => {
    const ran = await world.glovebox(args);
    expect([ran.code, ran.out]).toEqual([exit, '']);
    expect(ran.err).toMatch(/^glovebox: /);
    expect(ran.err).not.toMatch(/ at .*\.js:|Error:|undefined/);
    expect(linesOf(ran).length).toBeLessThanOrEqual(3);
    // For machines: one object on the same stream, nothing beside it, and the same exit code.
    const [command, ...rest] = args;
    const json = await world.glovebox([command, '--json', ...rest]);
    expect([json.code, json.out]).toEqual([exit, '']);
    const { error } = JSON.parse(json.err) as Told;
    expect(error.code).toMatch(/^GB_/);
    expect(linesOf(ran)[0]).toBe(`glovebox: ${error.what}`);
    expect([error.why, error.todo].every((text) => text !== '')).toBe(true);
  });

  it('names a command that does not exist', async () => {
    await refused(['run', '--', 'no-such-program'], 127, 'GB_COMMAND_NOT_FOUND', /no-such-program/);
  });
});

describe('a second start', () => {
  it('of `up` finds the first one, and says so', async () => {
    const pid = await world.daemon();
    const again = await world.glovebox(['up']);
    expect([again.code, again.err]).toEqual([0, '']);
    expect(again.out).toContain(`was already running (control plane ${pid}`);
    expect(JSON.parse((await world.glovebox(['up', '--json'])).out)).toMatchObject({ pid, started: false });
  });

  it('[R46] of many at once leaves one control plane', async () => {
    await world.glovebox(['down']);
    const started = await Promise.all([1, 2, 3].map(() => world.glovebox(['up', '--json'])));
    expect(started.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(new Set(started.map(({ out }) => (JSON.parse(out) as { pid: number }).pid)).size).toBe(1);
  });

  it('on the same state with another runtime folder is refused: one control plane owns a state', async () => {
    const pid = await world.daemon();
    const runtime = join(world.folder, 'runtime');
    mkdirSync(runtime, { mode: 0o700, recursive: true });
    const second = await world.glovebox(['up'], { env: { XDG_RUNTIME_DIR: runtime } });
    expect(second.code).toBe(75);
    expect(second.err).toContain(`process ${pid}`);
    expect(await world.daemon()).toBe(pid);
  });
});

describe('a socket in use', () => {
  it('by another program is left alone, and said', async () => {
    await world.glovebox(['down']);
    const path = join(world.state, 'run/operator.sock');
    const other = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('not glovebox\n');
    });
    other.listen(path);
    await once(other, 'listening');
    const ran = await world.glovebox(['up']);
    other.close();
    expect(ran.code).not.toBe(0);
    expect(linesOf(ran)).toHaveLength(3);
    expect(ran.err).toMatch(/^glovebox: /);
    expect(ran.err).toContain(path);
    expect((await world.glovebox(['up'])).code).toBe(0);
  });

  it('by a file that is no socket is left alone, and said', async () => {
    await world.glovebox(['down']);
    const path = join(world.state, 'run/operator.sock');
    writeFileSync(path, 'mine');
    const ran = await world.glovebox(['up']);
    expect([ran.code, linesOf(ran).length]).toEqual([78, 3]);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    rmSync(path);
    expect((await world.glovebox(['up'])).code).toBe(0);
  });
});

describe('a control plane killed with SIGKILL', () => {
  it('[R46] no sandbox outlives it by 5 s, the next start reaps, the changes are kept and can be applied', async () => {
    const pid = await world.daemon();
    const run = world.start([
      'run',
      '--name',
      'bereft',
      '--',
      'sh',
      '-c',
      'echo kept > kept.txt; echo ready; sleep 600',
    ]);
    let text = '';
    for (const stream of [run.stdout, run.stderr])
      stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = once(run, 'close');
    await until('it is ready', () => text.includes('ready'));
    const below = descendants(pid).map((process) => process.pid);
    expect(below.length).toBeGreaterThan(5);
    process.kill(pid, 'SIGKILL');
    await until('everything that it started is gone', () => !below.some(isAlive), 5_000);
    expect(await closed).toEqual([116, null]);
    expect(text).toContain('the control plane died');
    // A killed daemon has no sessions to list, and is not started for it.
    expect((await world.glovebox(['ps'])).code).toBe(0);
    const next = await world.daemon();
    expect(next).not.toBe(pid);
    expect(await world.session('bereft')).toMatchObject({
      state: 'ended',
      reason: 'daemon-died',
      changes: 'kept',
    });
    expect((await world.glovebox(['apply', 'bereft'])).out).toContain('1 applied');
    expect(readFileSync(join(world.project, 'kept.txt'), 'utf8')).toBe('kept\n');
    expect((await world.glovebox(['audit', 'verify'])).code).toBe(3);
    await world.glovebox(['down']);
    expect(remainsOf(world)).toEqual([]);
  });
});

describe('a state folder', () => {
  const up = async (text: RegExp): Promise<void> => {
    const ran = await world.glovebox(['up']);
    expect([ran.code, linesOf(ran).length]).toEqual([78, 3]);
    expect(ran.err).toMatch(text);
    expect(
      (JSON.parse((await world.glovebox(['up', '--json'])).err.split('\n').at(-2) ?? '') as Told).error.code,
    ).toBe('GB_STATE_REFUSED');
  };

  it('of a newer version is refused, and not changed', async () => {
    await world.glovebox(['down']);
    const version = join(world.state, 'VERSION');
    writeFileSync(version, '2\n');
    await up(/version "2", and this Glovebox knows version 1/);
    expect(readFileSync(version, 'utf8')).toBe('2\n');
    writeFileSync(version, '1\n');
    expect((await world.glovebox(['up'])).code).toBe(0);
  });

  it.each(['.', 'keys', 'sessions'])(
    'whose part %s others may enter is refused, and not repaired in silence',
    async (part) => {
      await world.glovebox(['down']);
      const path = join(world.state, part);
      chmodSync(path, 0o755);
      await up(/mode 755/);
      expect(statSync(path).mode & 0o777).toBe(0o755);
      chmodSync(path, 0o700);
      expect((await world.glovebox(['up'])).code).toBe(0);
    },
  );

  it('whose socket’s folder others may enter is refused', async () => {
    await world.glovebox(['down']);
    const path = join(world.state, 'run');
    chmodSync(path, 0o755);
    const ran = await world.glovebox(['up']);
    expect([ran.code === 0, linesOf(ran).length]).toEqual([false, 3]);
    expect(existsSync(join(path, 'operator.sock'))).toBe(false);
    chmodSync(path, 0o700);
    expect((await world.glovebox(['up'])).code).toBe(0);
  });
});
