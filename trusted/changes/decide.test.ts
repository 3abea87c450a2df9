import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../pure/contracts/index.ts';
import { applyChanges, diffChanges, discardChanges, hunksOf, listChanges } from './index.ts';
import { Layer } from './testing.ts';

let layer: Layer;
beforeEach(() => {
  layer = new Layer();
});
afterEach(() => layer.close());

const all = { sensitive: [] } as const;
const text = (path: string): string => readFileSync(layer.lower(path), 'utf8');
const paths = async (): Promise<string[]> =>
  (await listChanges(layer.staged)).changes.map(({ path }) => path);
const numbers = (count: number, change: (n: number) => string): string =>
  Array.from({ length: count }, (_, n) => `${change(n)}\n`).join('');

describe('hunks', () => {
  const before = numbers(60, (n) => `line ${n}`);
  const after = numbers(60, (n) =>
    n === 5 || n === 50 ? `LINE ${n}` : n === 30 ? 'in\nserted' : `line ${n}`,
  );
  beforeEach(() => {
    layer.host('a.txt', before);
    layer.agent('a.txt', after);
  });

  it('are taken one by one; the rest stays staged, and is no conflict with what was taken', async () => {
    const { digest, hunks } = await hunksOf(layer.staged, 'a.txt');
    expect(hunks.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(hunks[1]?.text).toContain('+serted');
    const first = await applyChanges(layer.staged, {
      paths: [],
      sensitive: [],
      hunks: [{ path: 'a.txt', digest, take: [2] }],
    });
    expect(first.applied).toEqual(['a.txt']);
    expect(text('a.txt')).toBe(before.replace('line 30\n', 'in\nserted\n'));
    const again = { ...layer.staged, since: new Date(0), partly: first.partly };
    expect((await listChanges(again)).changes).toMatchObject([{ path: 'a.txt', conflict: null }]);
    expect((await hunksOf(again, 'a.txt')).hunks).toHaveLength(2);
    expect((await applyChanges(again, all)).applied).toEqual(['a.txt']);
    expect(text('a.txt')).toBe(after);
    expect((await listChanges(again)).changes).toEqual([]);
  });

  it('a file that was taken in part and then edited on the host is a conflict', async () => {
    const { digest } = await hunksOf(layer.staged, 'a.txt');
    const { partly } = await applyChanges(layer.staged, {
      ...all,
      hunks: [{ path: 'a.txt', digest, take: [1] }],
    });
    appendFileSync(layer.lower('a.txt'), 'mine\n');
    const { skipped } = await applyChanges({ ...layer.staged, since: new Date(0), partly }, all);
    expect(skipped).toMatchObject([{ path: 'a.txt', why: expect.stringContaining('changed on the host') }]);
    expect(text('a.txt')).toContain('mine');
  });

  it('are what was shown, or nothing', async () => {
    const { digest } = await hunksOf(layer.staged, 'a.txt');
    layer.agent('a.txt', after.replace('LINE 5', 'rm -rf'));
    const take = (number: number, of: string): Promise<readonly { why: string }[]> =>
      applyChanges(layer.staged, {
        paths: [],
        sensitive: [],
        hunks: [{ path: 'a.txt', digest: of, take: [number] }],
      }).then(({ skipped }) => skipped);
    expect(await take(1, digest)).toMatchObject([{ why: expect.stringContaining('not what it was') }]);
    const now = await hunksOf(layer.staged, 'a.txt');
    expect(await take(9, now.digest)).toMatchObject([{ why: 'it has no such hunk' }]);
    expect(text('a.txt')).toBe(before);
    expect(await take(1, now.digest)).toEqual([]);
    expect(text('a.txt')).toContain('rm -rf');
  });

  it('[R48] of a file that host tools execute need its name too', async () => {
    layer.host('package.json', before);
    layer.agent('package.json', after);
    const { digest } = await hunksOf(layer.staged, 'package.json');
    const hunks = [{ path: 'package.json', digest, take: [1] }];
    const refused = await applyChanges(layer.staged, { paths: [], sensitive: [], hunks });
    expect(refused.skipped).toMatchObject([
      { path: 'package.json', why: expect.stringContaining('not named') },
    ]);
    expect(text('package.json')).toBe(before);
    const named = await applyChanges(layer.staged, { paths: [], sensitive: ['package.json'], hunks });
    expect(named.applied).toEqual(['package.json']);
  });

  it('keep every byte: other encodings, line ends, no line end at the end', async () => {
    const bytes = (tail: string, head: string): Buffer =>
      Buffer.from(`${head}\r\ncaf\xe9\xff\r\n${numbers(20, () => 'same')}${tail}`, 'latin1');
    layer.host('b.txt', bytes('end', 'one'));
    layer.agent('b.txt', bytes('END', 'ONE'));
    const { digest, hunks } = await hunksOf(layer.staged, 'b.txt');
    expect(hunks).toHaveLength(2);
    await applyChanges(layer.staged, {
      paths: [],
      sensitive: [],
      hunks: [{ path: 'b.txt', digest, take: [2] }],
    });
    expect(readFileSync(layer.lower('b.txt')).equals(bytes('END', 'one'))).toBe(true);
  });

  it('are refused for what is no text, and given up in time where too much differs', async () => {
    layer.host('bin', Buffer.from([0, 1]));
    layer.agent('bin', Buffer.from([0, 2]));
    await expect(hunksOf(layer.staged, 'bin')).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
    const lines = limits.diffEdits.value * 10;
    layer.host(
      'vast',
      numbers(lines, (n) => `a${n}`),
    );
    layer.agent(
      'vast',
      numbers(lines, (n) => `b${n}`),
    );
    await expect(hunksOf(layer.staged, 'vast')).rejects.toMatchObject({ code: 'GB_INPUT_INVALID' });
    expect(await diffChanges(layer.staged)).toContain('modified vast: not shown');
  });
});

describe('single paths', () => {
  it('are thrown away, and nothing of the host’s with them', async () => {
    for (const path of ['keep/a', 'keep/b', 'gone']) layer.host(path, 'host\n');
    layer.agent('keep/a', 'agent\n');
    layer.agent('keep/b', 'agent\n');
    layer.agent('new/deep/c', 'agent\n');
    layer.removed('gone');
    expect(await discardChanges(layer.staged, ['keep/a', 'new', 'gone'])).toEqual({
      discarded: ['gone', 'keep/a', 'new', 'new/deep', 'new/deep/c'],
      skipped: [],
    });
    expect(await paths()).toEqual(['keep/b']);
    expect([text('keep/a'), text('gone')]).toEqual(['host\n', 'host\n']);
  });

  it('through a link in the changes reach nothing', async () => {
    layer.host('victim/x', 'host\n');
    symlinkSync(layer.lower('victim'), layer.upper('way'));
    expect((await discardChanges(layer.staged, ['way/x'])).discarded).toEqual([]);
    expect((await discardChanges(layer.staged, ['way'])).discarded).toEqual(['way']);
    expect(text('victim/x')).toBe('host\n');
  });
});

describe('apply', () => {
  it('a file that took the place of a folder, and a folder that took the place of a file', async () => {
    layer.host('folder/x', 'host');
    layer.host('file', 'host');
    layer.agent('folder', 'a file now');
    layer.agent('file/in', 'a folder now');
    expect((await listChanges(layer.staged)).changes).toMatchObject([
      { path: 'file', kind: 'type' },
      { path: 'file/in', kind: 'added' },
      { path: 'folder/x', kind: 'deleted' },
      { path: 'folder', kind: 'type' },
    ]);
    expect((await applyChanges(layer.staged, all)).skipped).toEqual([]);
    expect([text('folder'), text('file/in')]).toEqual(['a file now', 'a folder now']);
  });

  it('a folder that may not be written comes out with what is in it', async () => {
    layer.agent('closed/x', 'x');
    chmodSync(layer.upper('closed'), 0o555);
    expect((await applyChanges(layer.staged, all)).skipped).toEqual([]);
    expect(text('closed/x')).toBe('x');
    expect(statSync(layer.lower('closed')).mode & 0o777).toBe(0o555);
  });

  it('a folder that became a link on the host is not followed, and that is said in words', async () => {
    layer.host('outside/x', 'host');
    layer.agent('sub/x', 'agent');
    symlinkSync('outside', layer.lower('sub'));
    const { skipped } = await applyChanges(layer.staged, { paths: ['sub/x'], sensitive: [] });
    expect(skipped).toMatchObject([{ path: 'sub/x', why: expect.stringContaining('on the host') }]);
    expect(text('outside/x')).toBe('host');
  });

  it('what was set back in time on the host is a conflict all the same: the change time counts', async () => {
    layer.host('a', 'host');
    layer.agent('a', 'agent');
    utimesSync(layer.lower('a'), new Date(0), new Date(0));
    const since = new Date(lstatSync(layer.lower('a')).ctimeMs - 1);
    const { skipped } = await applyChanges({ ...layer.staged, since }, all);
    expect(skipped).toMatchObject([{ path: 'a' }]);
    const { applied } = await applyChanges({ ...layer.staged, since: new Date(since.getTime() + 10) }, all);
    expect(applied).toEqual(['a']);
  });

  it('leaves nothing half: no other name beside the file, and the old file where the new one cannot be', async () => {
    layer.host('d/a', 'host');
    layer.agent('d/a', 'agent');
    expect((await applyChanges(layer.staged, all)).applied).toEqual(['d/a']);
    rmSync(layer.upper('d'), { recursive: true });
    layer.agent('d', 'a file');
    writeFileSync(layer.lower('d/new'), 'came later');
    mkdirSync(layer.lower('d/sub'));
    const { skipped } = await applyChanges(layer.staged, { paths: ['d/a', 'd/none'], sensitive: [] });
    expect(skipped).toEqual([]);
    expect(existsSync(layer.lower('d/a'))).toBe(false);
    expect(text('d/new')).toBe('came later');
  });

  it('a link comes out as it is', async () => {
    layer.host('l', 'file');
    symlinkSync('elsewhere', layer.upper('l'));
    expect((await applyChanges(layer.staged, all)).applied).toEqual(['l']);
    expect(readlinkSync(layer.lower('l'))).toBe('elsewhere');
  });
});
