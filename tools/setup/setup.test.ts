import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  existsSync,
} from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from './lock.mjs';
import { atLeast, goVersion, natsVersion, pinned, runscVersion } from './versions.mjs';
import { onPath, run } from './command.mjs';
import { root, toolCache } from './paths.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('versions', () => {
  it('compares part by part, as numbers', () => {
    expect(atLeast('2.15.2', '2.12.7')).toBe(true);
    expect(atLeast('2.9.10', '2.12.7')).toBe(false);
    expect(atLeast('1.26', '1.26.0')).toBe(true);
    expect(atLeast('20260518.0', '20260518')).toBe(true);
    expect(atLeast('20220907.0', '20260518')).toBe(false);
  });

  it('reads what each program says of itself, and nothing from one that says nothing', () => {
    expect(runscVersion('runsc version release-20260518.0\nspec: 1.2.1\n')).toBe('20260518.0');
    expect(runscVersion('runsc version VERSION_MISSING\nspec: 1.2.1\n')).toBeUndefined();
    expect(natsVersion('nats-server: v2.15.2\n')).toBe('2.15.2');
    expect(natsVersion('nats-server: v2.13.0-beta.1\n')).toBeUndefined();
    expect(goVersion('go version go1.26.8 linux/amd64')).toBe('1.26.8');
  });

  it('finds the pinned version of both tools', () => {
    const read = (name: string): string => readFileSync(join(root, 'tools/go', name, 'go.mod'), 'utf8');
    expect(pinned(read('runsc'), 'gvisor.dev/gvisor')).toMatch(/^\d{14}-[0-9a-f]{12}$/);
    expect(pinned(read('nats-server'), 'github.com/nats-io/nats-server/v2')).toMatch(/^\d+\.\d+\.\d+$/);
    expect(pinned('require example.org/a v1.0.0', 'example.org/b')).toBeUndefined();
  });
});

describe('the lock of the set-up', () => {
  it('lets one worker in at a time', async () => {
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all([1, 2, 3].map(() => withLock(join(folder, 'lock'), 'the test', work)));
    expect(most).toBe(1);
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });

  it('takes over from a process that was killed', async () => {
    const dead = spawn(process.execPath, ['-e', '0']);
    await once(dead, 'exit');
    mkdirSync(join(folder, 'lock'));
    writeFileSync(join(folder, 'lock/owner'), `${dead.pid ?? 0} 1 abc`);
    expect(await withLock(join(folder, 'lock'), 'the test', () => Promise.resolve('in'))).toBe('in');
  });

  it('takes over from a process whose number another one has now', async () => {
    mkdirSync(join(folder, 'lock'));
    writeFileSync(join(folder, 'lock/owner'), `${process.pid} 1 abc`);
    expect(await withLock(join(folder, 'lock'), 'the test', () => Promise.resolve('in'))).toBe('in');
  });

  it('is free again after work that failed', async () => {
    const failing = withLock(join(folder, 'lock'), 'the test', () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });
});

it('a relative XDG_CACHE_HOME is ignored, as its specification says', () => {
  const before = process.env['XDG_CACHE_HOME'];
  try {
    process.env['XDG_CACHE_HOME'] = 'relative';
    expect(toolCache()).toMatch(/\.cache\/glovebox\/tools$/);
    process.env['XDG_CACHE_HOME'] = '/caches';
    expect(toolCache()).toBe('/caches/glovebox/tools');
  } finally {
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
  }
});

describe('the launcher', () => {
  const script = (path: string, text: string): void => {
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
  };

  /** A checkout in which the set-up and the CLI only say that they ran. */
  function checkout(): string {
    const home = join(folder, 'a checkout');
    for (const room of ['pure', 'trusted', 'untrusted', 'operator', 'presets', 'tools/go', 'dist'])
      mkdirSync(join(home, room), { recursive: true });
    for (const name of ['package-lock.json', 'tsconfig.build.json', 'tools/build.mjs'])
      writeFileSync(join(home, name), '');
    script(join(home, 'tool'), 'exit 0');
    writeFileSync(
      join(home, 'tools/setup.mjs'),
      `import { writeFileSync } from 'node:fs';
      writeFileSync(${JSON.stringify(join(home, 'dist/cli.js'))}, 'console.log(JSON.stringify(process.argv.slice(2)))');
      writeFileSync(${JSON.stringify(join(home, 'dist/.ready'))}, ${JSON.stringify(`${onPath('node') ?? ''}\n${home}/tool\n${home}/tool\n`)});
      console.log('set up');`,
    );
    writeFileSync(join(home, 'glovebox'), readFileSync(join(root, 'glovebox')));
    chmodSync(join(home, 'glovebox'), 0o755);
    return home;
  }
  const start = async (program: string, ...args: string[]): Promise<string> =>
    (await run([program, ...args], { cwd: folder })).output;

  it('[R44] sets up once, then starts at once, and hands its arguments on unchanged', async () => {
    const home = checkout();
    expect(await start(join(home, 'glovebox'), 'run', '--', 'a b', '$c')).toBe(
      'set up\n["run","--","a b","$c"]\n',
    );
    expect(await start(join(home, 'glovebox'), 'ps')).toBe('["ps"]\n');
  });

  it('works through symbolic links, absolute and relative', async () => {
    const home = checkout();
    symlinkSync(join(home, 'glovebox'), join(folder, 'absolute'));
    symlinkSync('a checkout/glovebox', join(folder, 'relative'));
    symlinkSync('relative', join(folder, 'twice'));
    await start(join(home, 'glovebox'));
    for (const name of ['absolute', 'relative', 'twice'])
      expect(await start(join(folder, name), name)).toBe(`["${name}"]\n`);
  });

  it('sets up again after a change, a deletion, a search that fails, and when a tool is gone', async () => {
    const home = checkout();
    writeFileSync(join(home, 'pure/old.ts'), '');
    await start(join(home, 'glovebox'));
    expect(await start(join(home, 'glovebox'))).toBe('[]\n');
    writeFileSync(join(home, 'pure/new.ts'), '');
    expect(await start(join(home, 'glovebox'))).toBe('set up\n[]\n');
    rmSync(join(home, 'pure/old.ts'));
    expect(await start(join(home, 'glovebox'))).toBe('set up\n[]\n');
    rmSync(join(home, 'operator'), { recursive: true });
    expect(await start(join(home, 'glovebox'))).toContain('set up\n[]\n');
    mkdirSync(join(home, 'operator'));
    await start(join(home, 'glovebox'));
    rmSync(join(home, 'tool'));
    expect(await start(join(home, 'glovebox'))).toBe('set up\n[]\n');
  });

  it('says what to install where Node is missing', async () => {
    const home = checkout();
    const shell = onPath('sh') ?? '/bin/sh';
    const { ok, output } = await run([shell, join(home, 'glovebox')], {
      env: { PATH: folder },
      expect: false,
    });
    expect(ok).toBe(false);
    expect(output).toContain('install Node.js 20.10 or later');
  });
});
