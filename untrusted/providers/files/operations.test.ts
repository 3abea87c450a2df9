import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Operation } from '../../provider-sdk/index.ts';
import { filesOperations } from './operations.ts';

let root: string;
let call: (name: string, args: Record<string, unknown>) => ReturnType<Operation>;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gb-files-'));
  mkdirSync(join(root, 'notes'));
  mkdirSync(join(root, 'other'));
  writeFileSync(join(root, 'notes', 'a.txt'), 'one\ntwo words\n');
  writeFileSync(join(root, 'other', 'secret.txt'), 'not for the scope of notes\n');
  const operations = filesOperations(root, [
    { name: 'notes', write: true },
    { name: 'other', write: false },
  ]);
  call = async (name, args) => {
    const operation = operations[name];
    if (operation === undefined) throw new Error('no such operation');
    return operation(args, { session: 's' });
  };
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

describe('the files provider', () => {
  it('lists the folders and what is in them', async () => {
    expect(await call('list', { path: '/' })).toEqual({
      entries: [
        { name: 'notes', kind: 'folder', write: true },
        { name: 'other', kind: 'folder', write: false },
      ],
    });
    expect(await call('list', { path: '/notes' })).toMatchObject({
      entries: [{ name: 'a.txt', kind: 'file' }],
    });
  });
  it('reads, searches and writes inside a folder', async () => {
    expect(await call('read', { path: '/notes/a.txt' })).toMatchObject({ content: 'one\ntwo words\n' });
    expect(await call('search', { path: '/notes', text: 'words' })).toMatchObject({
      matches: [{ path: '/notes/a.txt', line: 2, text: 'two words' }],
    });
    await call('write', { path: '/notes/new/b.txt', content: 'three' });
    expect(readFileSync(join(root, 'notes/new/b.txt'), 'utf8')).toBe('three');
  });
  it.each([
    '/notes/../other/secret.txt',
    '/notes//a.txt',
    'notes/a.txt',
    '/notes/./a.txt',
    '/notes/a\u0000.txt',
    '/notes\\..\\other',
    '/none/a',
    '/',
  ])('refuses to read %j', async (path) => {
    await expect(call('read', { path })).rejects.toThrow();
  });
  it('does not write to a read-only folder', async () => {
    await expect(call('write', { path: '/other/x', content: '' })).rejects.toMatchObject({
      code: 'read-only',
    });
  });
  it('[R37] follows no link, neither to read nor to write nor to search, also where it stays in the folder', async () => {
    symlinkSync('../other', join(root, 'notes/link'));
    symlinkSync('../other/secret.txt', join(root, 'notes/file-link'));
    symlinkSync('a.txt', join(root, 'notes/inner'));
    expect(await call('read', { path: '/notes/a.txt' })).toMatchObject({ content: 'one\ntwo words\n' });
    await expect(call('read', { path: '/notes/inner' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(call('read', { path: '/notes/link/secret.txt' })).rejects.toMatchObject({
      code: 'not-found',
    });
    await expect(call('read', { path: '/notes/file-link' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(call('list', { path: '/notes/link' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(call('write', { path: '/notes/link/x', content: 'x' })).rejects.toMatchObject({
      code: 'not-found',
    });
    await expect(call('write', { path: '/notes/link/deep/x', content: 'x' })).rejects.toMatchObject({
      code: 'not-found',
    });
    await expect(call('write', { path: '/notes/file-link', content: 'x' })).rejects.toMatchObject({
      code: 'not-a-file',
    });
    expect(await call('search', { path: '/notes', text: 'scope' })).toMatchObject({ matches: [] });
    expect(readFileSync(join(root, 'other/secret.txt'), 'utf8')).toContain('not for');
  });
  it('refuses binary files and folders as text', async () => {
    writeFileSync(join(root, 'notes/bin'), Buffer.from([1, 0, 2]));
    await expect(call('read', { path: '/notes/bin' })).rejects.toMatchObject({ code: 'not-text' });
    await expect(call('read', { path: '/notes' })).rejects.toMatchObject({ code: 'not-a-file' });
  });
});

it('[R37] folders that are swapped for links while it works lead it nowhere else', async () => {
  mkdirSync(join(root, 'notes/sub'));
  writeFileSync(join(root, 'notes/sub/secret.txt'), 'mine');
  symlinkSync(join(root, 'other'), join(root, 'notes/link'));
  // As fast as it can: sub is now the folder, now a link to another shared folder.
  const swapping = spawn(
    'python3',
    [
      '-c',
      'import os\nprint("x", flush=True)\nwhile os.getppid() != 1:\n os.rename("sub","dir"); os.rename("link","sub"); os.rename("sub","link"); os.rename("dir","sub")',
    ],
    { cwd: join(root, 'notes'), stdio: ['ignore', 'pipe', 'ignore'] },
  );
  await once(swapping.stdout, 'data');
  const seen = new Set<unknown>();
  try {
    for (let tries = 0; tries < 1500; tries += 1) {
      const path = '/notes/sub/secret.txt';
      seen.add(
        await call('read', { path }).then(
          ({ content }) => content,
          () => 'refused',
        ),
      );
      const { matches } = await call('search', { path: '/notes/sub', text: 'scope' }).catch(() => ({
        matches: [],
      }));
      expect(matches).toEqual([]);
    }
  } finally {
    swapping.kill('SIGKILL');
    await once(swapping, 'close');
  }
  seen.delete('refused');
  expect([...seen]).toEqual(['mine']);
});
