import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpack, type Layer } from './unpack.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-unpack-'));
  mkdirSync(join(folder, 'root'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Part = readonly [Partial<Header> & { name: string }, string?];
let made = 0;

/** An archive as an attacker's own tool would write it. */
async function layer(parts: readonly Part[], shape: (tar: Buffer) => Buffer = (tar) => tar): Promise<Layer> {
  const tar = pack();
  for (const [header, text] of parts) tar.entry({ ...header }, text ?? '');
  tar.finalize();
  const bytes = shape(await buffer(tar));
  const file = join(folder, `layer-${String((made += 1))}`);
  writeFileSync(file, bytes);
  return { file, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

const bounds = { bytes: 10_000_000, entries: 1000 };
const root = (): string => join(folder, 'root');
const into = async (...layers: Layer[]): Promise<unknown> => await unpack(layers, root(), bounds);

describe('[R23] unpacking an image', () => {
  it('makes what the layers say, the later over the earlier, compressed or not', async () => {
    await into(
      await layer([
        [{ name: 'etc/a' }, 'one'],
        [{ name: 'bin/su', mode: 0o4755 }, 'x'],
      ]),
      await layer(
        [
          [{ name: 'etc/a' }, 'two'],
          [{ name: 'l', type: 'symlink', linkname: '/etc' }],
          [{ name: 'l/b' }, 'b'],
        ],
        gzipSync,
      ),
    );
    expect(readFileSync(join(root(), 'etc/a'), 'utf8')).toBe('two');
    expect(readFileSync(join(root(), 'etc/b'), 'utf8')).toBe('b');
    expect(lstatSync(join(root(), 'bin/su')).mode & 0o7777).toBe(0o755);
  });

  it.each<[string, Part[]]>([
    ['a path upwards', [[{ name: '../escaped' }, 'x']]],
    ['a hard link to a file of the host', [[{ name: 'passwd', type: 'link', linkname: '/etc/passwd' }]]],
    ['control characters', [[{ name: 'a\u001b]52;c;eA==\u0007' }, 'x']]],
    ['links in a ring', [[{ name: 'a', type: 'symlink', linkname: 'a' }], [{ name: 'a/b' }, 'x']]],
  ])('refuses %s', async (_, parts) => {
    await expect(into(await layer(parts))).rejects.toThrow();
    expect(readdirSync(folder).filter((name) => !name.startsWith('layer'))).toEqual(['root']);
  });

  it('writes nothing through a link that leads out', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    await into(
      await layer([[{ name: 'out', type: 'symlink', linkname: outside }], [{ name: 'out/file' }, 'x']]),
    );
    expect(readdirSync(outside)).toEqual([]);
    expect(readFileSync(join(root(), outside, 'file'), 'utf8')).toBe('x');
  });

  it('makes no device', async () => {
    await into(
      await layer([
        [{ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }],
        [{ name: 'a' }, 'x'],
      ]),
    );
    expect(existsSync(join(root(), 'null'))).toBe(false);
    expect(existsSync(join(root(), 'a'))).toBe(true);
  });

  it('stops a bomb: too many bytes, whatever their size compressed, or too many entries', async () => {
    const big = await layer([[{ name: 'zeros' }, '\0'.repeat(20_000_000)]], gzipSync);
    await expect(into(big)).rejects.toThrow(/bytes unpacked/);
    const many = await layer(Array.from({ length: 1200 }, (_, at): Part => [{ name: `f${String(at)}` }, '']));
    await expect(into(many)).rejects.toThrow(/files, folders and links/);
  });

  it('refuses a layer that is not what its digest says, is cut short, or is no archive', async () => {
    const good = await layer([[{ name: 'a' }, 'x']]);
    await expect(into({ ...good, digest: `sha256:${'0'.repeat(64)}` })).rejects.toThrow(/another content/);
    await expect(
      into(await layer([[{ name: 'b' }, 'x'.repeat(5000)]], (tar) => tar.subarray(0, 2000))),
    ).rejects.toThrow();
    await expect(into(await layer([], () => Buffer.from('no archive '.repeat(100))))).rejects.toThrow();
    await expect(into(await layer([], () => Buffer.from('28b52ffd00', 'hex')))).rejects.toThrow(/zstd/);
  });
});
