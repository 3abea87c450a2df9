import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GloveboxError } from '../../../pure/contracts/index.ts';
import { sharedFolders, type SharedPlaces } from './shared-folders.ts';

let root: string;
let places: SharedPlaces;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gb-shared-')));
  const home = join(root, 'home');
  const at = (path: string): string => {
    mkdirSync(join(home, path), { recursive: true });
    return join(home, path);
  };
  places = {
    home,
    state: at('.local/state/glovebox'),
    config: at('.config/glovebox'),
    data: at('.local/share/glovebox'),
    runtime: at('run'),
  };
  for (const path of ['notes/inner', 'work', '.ssh/keys', '.docker']) at(path);
});
afterEach(() => rmSync(root, { recursive: true }));

const write = (text: string): void => writeFileSync(join(places.config, 'providers.yaml'), text);
const share = (...folders: readonly [name: string, path: string, write?: boolean][]): void =>
  write(
    JSON.stringify({
      files: { folders: folders.map(([name, path, may = false]) => ({ name, path, write: may })) },
    }),
  );
const failure = async (): Promise<GloveboxError> => {
  const error: unknown = await sharedFolders(places).then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof GloveboxError)) throw error;
  return error;
};

describe('the folders that a person shares', () => {
  it('without a file: one of its own, for its owner alone', async () => {
    const source = join(places.data, 'shared');
    expect(await sharedFolders(places)).toEqual([{ name: 'shared', source, writable: true }]);
    expect(statSync(source).mode & 0o777).toBe(0o700);
  });
  it('from providers.yaml: absolute or below the home, resolved, read-only unless it says otherwise', async () => {
    symlinkSync('notes', join(places.home, 'link'));
    share(['notes', '~/link'], ['work', join(places.home, 'work'), true]);
    expect(await sharedFolders(places)).toEqual([
      { name: 'notes', source: join(places.home, 'notes'), writable: false },
      { name: 'work', source: join(places.home, 'work'), writable: true },
    ]);
  });
  it('an empty list shares nothing', async () => {
    write('files: { folders: [] }');
    expect(await sharedFolders(places)).toEqual([]);
  });
  it.each([
    ['a misspelt key that was needed', 'files:\n  folder: []\n', 2, /unknown key "folder".*"folders"/s],
    ['an unknown key', 'files:\n  folders:\n    - { name: a, path: /a, wirte: true }\n', 3, /wirte.*write/s],
    [
      'a name that is no label',
      'files:\n  folders:\n    - { name: A/b, path: /a, write: true }\n',
      3,
      /lower-case/,
    ],
    [
      'a name twice',
      'files:\n  folders:\n    - { name: a, path: /a, write: true }\n    - { name: a, path: /b, write: true }\n',
      3,
      /twice/,
    ],
    ['no YAML', 'files: [', 1, /./],
  ])('%s: file, line and column', async (_, text, line, message) => {
    write(text);
    const error = await failure();
    expect(error.code).toBe('GB_POLICY_INVALID');
    expect(error.what).toMatch(new RegExp(`providers\\.yaml:${line}:\\d+: `));
    expect(`${error.what} ${error.todo}`).toMatch(message);
  });
  it.each([
    ['the root', '/'],
    ['the home', '~/.'],
    ['what holds the home', '..'],
    ['what is not there', '~/none'],
    ['a relative path', 'notes'],
    ['the state folder', '~/.local/state/glovebox'],
    ['what holds the state folder', '~/.local'],
    ['the configuration', '~/.config/glovebox'],
    ['the runtime folder', '~/run'],
    ['keys', '~/.ssh'],
    ['a folder of keys', '~/.ssh/keys'],
    ['logins', '~/.docker'],
    ['the system', '/etc'],
    ['the kernel', '/proc/self'],
    ['a link to keys', '~/innocent'],
    ['a file', '~/file'],
  ])('[R23] refused: %s', async (_, path) => {
    symlinkSync('.ssh', join(places.home, 'innocent'));
    writeFileSync(join(places.home, 'file'), '');
    share(['docs', path === '..' ? root : path]);
    expect((await failure()).code).toBe('GB_INPUT_INVALID');
  });
  it('refused: one inside another', async () => {
    share(['notes', '~/notes'], ['inner', '~/notes/inner', true]);
    expect((await failure()).why).toMatch(/lies in the shared folder notes/);
  });
  it.runIf(process.geteuid?.() === 0)('as root, refused: of another owner', async () => {
    share(['notes', '~/notes'], ['work', '~/work', true]);
    expect(await sharedFolders(places)).toHaveLength(2);
    chownSync(join(places.home, 'work'), 12345, 12345);
    expect((await failure()).why).toMatch(/another user/);
  });
});
