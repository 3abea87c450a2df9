import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack, type Header } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cache, checkout, World } from './world.ts';

let world: World;
let crane: string;
let registry: ChildProcess;
let address: string;
let probe: Buffer;
const folder = mkdtempSync(join(tmpdir(), 'gb-images-'));

const craneSays = (...args: string[]): string =>
  execFileSync(crane, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

async function serve(): Promise<void> {
  registry = spawn(crane, ['registry', 'serve', '--address', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  address = await new Promise((resolve, reject) => {
    let said = '';
    registry.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const port = /serving on (?:port )?(?:\S*:)?(\d+)/.exec(said)?.[1];
      if (port !== undefined) resolve(`127.0.0.1:${port}`);
    });
    registry.once('close', () => reject(new Error(`the registry ended: ${said}`)));
  });
}

type Part = readonly [Partial<Header> & { name: string }, (string | Buffer)?];
let made = 0;

async function archive(parts: readonly Part[]): Promise<string> {
  const tar = pack();
  for (const [header, content] of parts) tar.entry({ ...header }, content ?? '');
  tar.finalize();
  const file = join(folder, `layer-${String((made += 1))}.tar`);
  writeFileSync(file, await buffer(tar));
  return file;
}

/** Puts an image into our registry; what it is called, with its digest. */
async function image(
  name: string,
  layers: readonly (readonly Part[])[],
  mutate: readonly string[] = [],
  platform = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
): Promise<string> {
  const reference = `${address}/test/${name}:1`;
  const files = await Promise.all(layers.map(archive));
  craneSays('append', ...files.flatMap((file) => ['-f', file]), '-t', reference);
  craneSays('mutate', reference, '-t', reference, '--set-platform', platform, ...mutate);
  return `${address}/test/${name}@${craneSays('digest', reference)}`;
}

const program = (name = 'bin/probe', mode = 0o755): Part => [{ name, mode }, probe];
interface Said {
  readonly [key: string]: unknown;
  readonly env: readonly string[];
  readonly trust: readonly number[];
}
const run = async (reference: string, ...command: string[]): Promise<Said> => {
  const { code, out, err } = await world.glovebox(['run', '--image', reference, ...command]);
  expect(err).not.toMatch(/refused|cannot/);
  expect(code).toBe(0);
  return JSON.parse(out) as Said;
};
const kept = (): string[] => {
  const images = join(world.folder, 'cache/glovebox/images');
  return existsSync(images) ? readdirSync(images).filter((name) => !name.endsWith('.alias')) : [];
};

beforeAll(async () => {
  world = new World();
  writeFileSync(join(world.project, 'read-me.txt'), 'of the project');
  execFileSync('node', [join(checkout, 'tools/setup/crane.mjs')], {
    stdio: 'inherit',
    env: { ...process.env },
  });
  ({ crane } = JSON.parse(readFileSync(join(checkout, 'dist/tools.json'), 'utf8')) as { crane: string });
  const built = join(folder, 'probe');
  execFileSync('go', ['build', '-o', built, join(checkout, 'test/e2e/image-probe.go')], {
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' },
  });
  probe = readFileSync(built);
  await serve();
  // A cache of its own: what it finds there was fetched by these tests. The tools are those of the set-up.
  mkdirSync(join(world.folder, 'cache/glovebox'), { recursive: true });
  symlinkSync(join(cache, 'glovebox/tools'), join(world.folder, 'cache/glovebox/tools'));
  world.env['XDG_CACHE_HOME'] = join(world.folder, 'cache');
  await world.waive();
});
afterAll(async () => {
  registry.kill();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a session with an image', () => {
  it('[R23] has its files, variables and user’s name, and never its privileges; trusts the session’s authority', async () => {
    const reference = await image(
      'whole',
      [
        [
          program(),
          program('bin/suid', 0o4755),
          [{ name: 'etc/gone' }, 'x'],
          [{ name: 'etc/passwd' }, 'root:x:0:0:::\n'],
        ],
        [
          [{ name: 'etc/.wh.gone' }],
          [{ name: 'etc/note' }, 'of the image'],
          [{ name: 'sh', type: 'symlink', linkname: '/bin/probe' }],
        ],
      ],
      [
        '--user',
        'root',
        '--env',
        'FOO=bar',
        '--env',
        'PATH=/bin',
        '--env',
        'SSL_CERT_FILE=/evil',
        '--workdir',
        '/etc',
        '--entrypoint',
        'probe,own',
      ],
    );
    const given = await run(reference, '--', 'probe', 'mine');
    expect(given).toMatchObject({
      ...{
        uid: 65534,
        gid: 65534,
        cwd: '/workspace',
        args: ['/bin/probe', 'mine'],
        note: 'of the image',
        gone: '',
      },
      ...{ suid: false, host: false, project: 'of the project' },
    });
    expect(given['write']).toMatch(/read-only file system/);
    expect(given['passwd']).toContain('agent:x:65534:');
    expect(given.env).toEqual(
      expect.arrayContaining(['FOO=bar', 'PATH=/bin', 'SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt']),
    );
    expect(given.trust[0]).toBeGreaterThan(1000);
    expect(new Set(given.trust).size).toBe(1);
    expect((await world.glovebox(['diff'])).out).toContain('made in an image');
    // Its own command, in its own folder.
    expect(await run(reference)).toMatchObject({ cwd: '/etc', args: ['/bin/probe', 'own'] });
    const unknown = await world.glovebox(['run', '--image', reference, '--', 'nothing-of-the-kind']);
    expect(unknown).toMatchObject({ code: 127 });
    expect(unknown.err).toMatch(/image’s PATH/);
  });

  it('shows what a tag is; a digest that was fetched starts without its registry, a tag says that it needs it', async () => {
    const reference = await image('offline', [[program()]], ['--env', 'PATH=/bin']);
    const tag = reference.replace(/@.*/, ':1');
    const first = await world.glovebox(['run', '--image', tag, '--', 'probe']);
    expect(first.err).toContain(reference.replace(/^.*@/, ''));
    registry.kill();
    await new Promise((resolve) => registry.once('close', resolve));
    expect(await run(reference, '--', 'probe')).toMatchObject({ uid: 65534 });
    const down = await world.glovebox(['run', '--image', tag, '--', 'probe']);
    expect(down.code).toBe(69);
    expect(down.err).toMatch(/cannot be reached/);
    await serve();
  });

  it.each<[string, () => Promise<string> | string, RegExp]>([
    ['no reference at all', () => 'No Image', /is not valid/],
    ['an unknown tag', () => `${address}/test/nothing:2`, /no image of this name/],
    [
      'a digest that nobody has',
      () => `${address}/test/nothing@sha256:${'1'.repeat(64)}`,
      /no image of this name/,
    ],
    ['another architecture', () => image('other', [[program()]], [], 'linux/s390x'), /made for linux\/s390x/],
    ['a path that leads out', () => image('evil-path', [[[{ name: '../../evil' }, 'x']]]), /leads upwards/],
    [
      'a hard link to a file of the host',
      () => image('evil-link', [[[{ name: 'p', type: 'link', linkname: '/etc/passwd' }]]]),
      /hard link/,
    ],
    [
      'a name that steers terminals',
      () => image('evil-name', [[[{ name: 'a\u001b]0;x\u0007' }, 'x']]]),
      /control characters/,
    ],
  ])('[R23] %s is one clear error, and leaves nothing', async (_, make, says) => {
    const reference = await make();
    const before = kept();
    const { code, err, out } = await world.glovebox(['run', '--image', reference, '--', 'probe']);
    expect(err).toMatch(says);
    expect(code).toBeGreaterThan(63);
    expect(out).toBe('');
    expect(kept()).toEqual(before);
  });
});
