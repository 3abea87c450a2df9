import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyChanges, diffChanges, listChanges, type Staged } from './index.ts';

let folder: string;
let staged: Staged;
const lower = (path: string): string => join(folder, 'lower', path);
const upper = (path: string): string => join(folder, 'upper', path);
const all = { sensitive: [] } as const;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-changes-'));
  mkdirSync(lower('src'), { recursive: true });
  mkdirSync(upper('src'), { recursive: true });
  writeFileSync(lower('src/a.txt'), 'one\ntwo\n');
  writeFileSync(lower('src/b.txt'), 'b\n');
  writeFileSync(lower('gone.txt'), 'gone\n');
  staged = {
    lower: lower(''),
    upper: upper(''),
    since: new Date(Date.now() + 60_000),
    asRoot: process.geteuid?.() === 0,
    show: [],
  };
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const whiteout = (path: string): void => {
  execFileSync('mknod', [upper(path), 'c', '0', '0']);
};
const kinds = async (): Promise<Record<string, string>> =>
  Object.fromEntries((await listChanges(staged)).changes.map(({ path, kind }) => [path, kind]));

describe('staged changes', () => {
  it('are told by comparing, not by what was touched', async () => {
    writeFileSync(upper('src/a.txt'), 'one\nTWO\n');
    writeFileSync(upper('src/b.txt'), 'b\n');
    writeFileSync(upper('src/new.txt'), 'new\n');
    whiteout('gone.txt');
    expect(await kinds()).toEqual({ 'gone.txt': 'deleted', 'src/a.txt': 'modified', 'src/new.txt': 'added' });
  });
  it('come out with apply: contents, modes, links, deletions', async () => {
    writeFileSync(upper('src/a.txt'), 'changed\n');
    chmodSync(upper('src/a.txt'), 0o755);
    mkdirSync(upper('deep/er'), { recursive: true });
    writeFileSync(upper('deep/er/x'), 'x');
    symlinkSync('a.txt', upper('src/link'));
    whiteout('gone.txt');
    const { skipped } = await applyChanges(staged, all);
    expect(skipped).toEqual([]);
    expect(readFileSync(lower('src/a.txt'), 'utf8')).toBe('changed\n');
    expect(statSync(lower('src/a.txt')).mode & 0o777).toBe(0o755);
    expect(readFileSync(lower('deep/er/x'), 'utf8')).toBe('x');
    expect(readlinkSync(lower('src/link'))).toBe('a.txt');
    expect(existsSync(lower('gone.txt'))).toBe(false);
    expect(await kinds()).toEqual({});
  });
  it('are shown as a diff that git applies', async () => {
    writeFileSync(upper('src/a.txt'), 'one\nTWO\n');
    writeFileSync(upper('n.txt'), 'n\n');
    whiteout('gone.txt');
    const patch = await diffChanges(staged);
    expect(patch).toContain('-two\n+TWO');
    execFileSync('git', ['apply', '--check', '-'], { cwd: lower(''), input: patch });
  });
  it('take single paths, and leave the rest', async () => {
    writeFileSync(upper('src/a.txt'), 'A');
    writeFileSync(upper('src/b.txt'), 'B');
    expect((await applyChanges(staged, { paths: ['src/b.txt'], sensitive: [] })).applied).toEqual([
      'src/b.txt',
    ]);
    expect(readFileSync(lower('src/a.txt'), 'utf8')).toBe('one\ntwo\n');
  });
  it('[R48] do not come out unnamed where host tools would run them', async () => {
    for (const path of ['.git/hooks', '.vscode', '.github/workflows'])
      mkdirSync(upper(path), { recursive: true });
    for (const path of [
      '.git/hooks/pre-commit',
      '.envrc',
      '.vscode/tasks.json',
      'package.json',
      '.github/workflows/x.yml',
      'CLAUDE.md',
      'src/PACKAGE.JSON',
    ])
      writeFileSync(upper(path), 'x');
    const { applied, skipped } = await applyChanges(staged, { sensitive: ['package.json'] });
    expect(applied).toContain('package.json');
    for (const path of [
      '.git/hooks/pre-commit',
      '.envrc',
      '.vscode/tasks.json',
      '.github/workflows/x.yml',
      'CLAUDE.md',
      'src/PACKAGE.JSON',
    ]) {
      expect(skipped.map((entry) => entry.path)).toContain(path);
      expect(existsSync(lower(path))).toBe(false);
    }
  });
  it('conflict where the host changed the file after the start', async () => {
    staged = { ...staged, since: new Date(0) };
    writeFileSync(upper('src/a.txt'), 'agent');
    expect((await applyChanges(staged, all)).skipped).toMatchObject([{ path: 'src/a.txt' }]);
    expect(readFileSync(lower('src/a.txt'), 'utf8')).toBe('one\ntwo\n');
  });
  it('are never written through a link out of the workspace', async () => {
    mkdirSync(join(folder, 'outside'));
    writeFileSync(join(folder, 'outside/x'), 'outside');
    symlinkSync(join(folder, 'outside'), lower('way'));
    symlinkSync(join(folder, 'outside/x'), lower('file'));
    mkdirSync(upper('way'));
    writeFileSync(upper('way/x'), 'evil');
    writeFileSync(upper('file'), 'evil');
    await applyChanges(staged, all);
    expect(readFileSync(join(folder, 'outside/x'), 'utf8')).toBe('outside');
    expect(lstatSync(lower('file')).isFile()).toBe(true);
  });
  it('are never read through a link out of the changes', async () => {
    writeFileSync(join(folder, 'secret'), 'host secret');
    symlinkSync(join(folder, 'secret'), upper('s'));
    const { changes } = await listChanges(staged);
    expect(changes).toMatchObject([
      { path: 's', kind: 'added', sensitive: 'a link that leads out of the workspace' },
    ]);
    expect(await diffChanges(staged)).not.toContain('host secret');
  });
  it('leave out set-id bits, devices, sockets and FIFOs', async () => {
    writeFileSync(upper('suid'), 'x');
    chmodSync(upper('suid'), 0o4755);
    execFileSync('mkfifo', [upper('fifo')]);
    const { skipped } = await applyChanges(staged, all);
    expect(statSync(lower('suid')).mode & 0o7777).toBe(0o755);
    expect(skipped).toMatchObject([{ path: 'fifo' }]);
  });
  it('say of each file that a removed folder held that it is gone', async () => {
    rmSync(upper('src'), { recursive: true });
    whiteout('src');
    expect(await kinds()).toEqual({ 'src/a.txt': 'deleted', 'src/b.txt': 'deleted', src: 'deleted' });
    await applyChanges(staged, all);
    expect(existsSync(lower('src'))).toBe(false);
  });
  it('replace a file that has another name too, and do not write into it', async () => {
    linkSync(lower('src/a.txt'), join(folder, 'other-name'));
    writeFileSync(upper('src/a.txt'), 'changed');
    await applyChanges(staged, all);
    expect(readFileSync(join(folder, 'other-name'), 'utf8')).toBe('one\ntwo\n');
  });
});
