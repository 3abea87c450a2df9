import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tiers } from '../../../pure/contracts/index.ts';
import type { SandboxRequest } from '../port.ts';
import type { HostView } from './host-view.ts';
import { RunFolders } from './run-folders.ts';
import { runFolder } from './settings.ts';

const view: HostView = {
  folders: ['/usr', '/opt/tool'],
  links: [{ path: '/bin', target: 'usr/bin' }],
  etc: '/etc',
  certificates: 'HOST\n',
};
const request = {
  role: 'agent',
  tier: tiers.starter,
  toolFolders: ['/srv/tools'],
  folders: [],
  caPem: 'SESSION\n',
  homeFiles: { '.config/a': 'b' },
} as unknown as SandboxRequest;

let folder: string;
const made = (id: string): ReturnType<typeof runFolder> => runFolder(folder, id);
const children = (name: string): string[] => {
  try {
    return readdirSync(join(folder, name));
  } catch {
    return [];
  }
};
/** Every path with its kind and mode: what runsc's processes, which are others, see of it. */
const tree = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((name) => `${name} ${lstatSync(join(path, name)).mode.toString(8)}`)
    .sort();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-run-folders-'));
  mkdirSync(join(folder, 'run'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const folders = (): RunFolders => new RunFolders(folder, view);

describe('run folders', () => {
  test('one made ahead is the same as one made at the start, and is used once', () => {
    const one = folders();
    one.make(made('fresh'), request);
    one.prepare();
    one.prepare();
    expect(children('run-ahead')).toHaveLength(1);
    one.make(made('ahead'), request);
    expect(children('run-ahead')).toEqual([]);
    one.make(made('third'), request);
    expect(tree(made('ahead').path)).toEqual(tree(made('fresh').path));
    expect(tree(made('third').path)).toEqual(tree(made('fresh').path));
    expect(lstatSync(made('ahead').path).mode & 0o777).toBe(0o700);
    expect(lstatSync(join(made('ahead').root, 'usr')).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(made('ahead').path, 'ca.crt'), 'utf8')).toBe('HOST\nSESSION\n');
  });

  test('an image has its own folder, without the host\u2019s', () => {
    const one = folders();
    one.prepare();
    one.make(made('image'), { ...request, image: { rootfs: '/nowhere', user: 'me' } });
    expect(children('run-ahead')).toHaveLength(1);
    expect(tree(made('image').root).some((line) => line.startsWith('usr'))).toBe(false);
    expect(readFileSync(join(made('image').root, 'etc/passwd'), 'utf8')).toContain('me:');
  });

  test('one that somebody cleaned up is made anew', () => {
    const one = folders();
    one.prepare();
    rmSync(join(folder, 'run-ahead'), { recursive: true });
    one.make(made('anew'), request);
    expect(children('run/anew')).toContain('ca.crt');
  });

  test('[R26] an ended one is out of the way at once, and gone when all is closed', async () => {
    const one = folders();
    one.make(made('over'), request);
    one.prepare();
    writeFileSync(join(made('over').path, 'disk/home/left'), 'by the agent');
    await one.remove(made('over'));
    expect(children('run')).toEqual([]);
    await one.close();
    expect(readdirSync(folder)).toEqual(['run']);
  });

  test('[R46] what a killed process had made ahead, or had begun to remove, the next one removes', async () => {
    const killed = folders();
    killed.prepare();
    for (const name of ['run-ended/x/disk', 'run-ahead/y'])
      mkdirSync(join(folder, name), { recursive: true });
    const next = new RunFolders(folder, view);
    await next.reap();
    expect([children('run-ended'), children('run-ahead')]).toEqual([[], []]);
    next.prepare();
    await next.reap();
    expect(children('run-ahead')).toHaveLength(1);
  });
});
