import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onTerminal } from './terminal.ts';
import { until } from './until.ts';
import { World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = new World();
  await world.waive();
  await world.glovebox([
    'run',
    '--detach',
    '--name',
    'long',
    '--',
    'sh',
    '-c',
    'echo main > here; sleep 600',
  ]);
  await until('it runs', async () => (await world.session('long')).state === 'running');
});
afterAll(() => world.close());

describe('exec', () => {
  it('[R47] runs in the same sandbox: its files and processes, its own exit code, bytes exact', async () => {
    await until(
      'the file',
      async () => (await world.glovebox(['exec', 'long', 'cat', 'here'])).out === 'main\n',
    );
    const seen = await world.glovebox([
      'exec',
      'long',
      '--',
      'sh',
      '-c',
      'cat /proc/*/cmdline | tr "\\0" " "; id -u',
    ]);
    expect(seen.out).toContain('sleep 600');
    expect(seen.out).toMatch(/65534\n$/);
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value)).toString('latin1');
    const echoed = await world.glovebox(
      ['exec', 'long', '--', 'sh', '-c', 'cat | od -An -v -tx1 | tr -d " \\n"; exit 9'],
      {
        input: Buffer.from(every, 'latin1'),
      },
    );
    expect([echoed.code, echoed.out]).toEqual([9, Buffer.from(every, 'latin1').toString('hex')]);
    expect((await world.glovebox(['exec', 'long', '--', 'sh', '-c', 'kill -TERM $$'])).code).toBe(143);
    expect((await world.session('long')).state).toBe('running');
  });

  it('a command that is not there is 127, and the session goes on; one of a session that ended is refused', async () => {
    expect((await world.glovebox(['exec', 'long', 'no-such-program'])).code).toBe(127);
    expect((await world.glovebox(['exec', 'nobody', 'true'])).code).toBe(66);
    expect((await world.glovebox(['exec', 'long'])).code).toBe(64);
    await world.glovebox(['run', '--name', 'short', '--', 'true']);
    expect((await world.glovebox(['exec', 'short', 'true'])).err).toContain('ended');
  });

  it('[R36] [R41] each has a turn of its own and a record before and after it', async () => {
    const { out } = await world.glovebox(['audit', '--session', 'long', '--limit', '500', '--json']);
    type Row = { readonly record: Readonly<Record<'operation' | 'turn' | 'detail', string | undefined>> };
    const records = (JSON.parse(out) as Row[])
      .map(({ record }) => record)
      .filter(({ operation }) => operation === 'session.exec');
    const turns = records
      .filter(({ detail }) => detail?.startsWith('started: ') === true)
      .map(({ turn }) => turn);
    expect(turns.length).toBeGreaterThan(3);
    expect(new Set(turns).size).toBe(turns.length);
    for (const turn of turns) expect(records.filter((record) => record.turn === turn)).toHaveLength(2);
  });

  it('a shell on a terminal of its own, that knows its size; the session’s end ends it', async () => {
    const shell = onTerminal(world, ['exec', 'long', '--', 'bash', '--norc', '--noprofile']);
    await shell.shows(/\$ $/);
    shell.type('stty size; echo "term $TERM"\r');
    await shell.shows(/24 80\s+term xterm-256color/);
    await world.glovebox(['stop', 'long']);
    expect(await shell.finished).not.toBe(0);
  });
});
