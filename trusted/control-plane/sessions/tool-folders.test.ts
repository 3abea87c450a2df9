import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { credentialsIn, resolveToolFolders } from './tool-folders.ts';

// Not below /tmp, which a sandbox has of its own; root's home may be there, a person's is.
const base = ['/var/tmp', homedir()].find((path) => !path.startsWith(tmpdir())) ?? '/var/tmp';
let home: string;
beforeAll(() => {
  home = realpathSync(mkdtempSync(join(base, 'glovebox-tools-')));
  for (const folder of ['.cargo/bin', '.cargo/registry/src/x', '.m2', '.ssh', '.nvm/versions/node', 'go/pkg'])
    mkdirSync(join(home, folder), { recursive: true });
  for (const file of [
    '.cargo/credentials.toml',
    '.cargo/config.toml',
    '.cargo/bin/cargo',
    '.m2/settings.xml',
    '.ssh/id_rsa',
    '.nvm/.npmrc',
    'go/pkg/auth.json',
  ])
    writeFileSync(join(home, file), 'x');
  symlinkSync('credentials.toml', join(home, '.cargo/credentials'));
  symlinkSync('/etc/passwd', join(home, '.cargo/.netrc'));
});
afterAll(() => rmSync(home, { recursive: true }));

const places = (): { home: string; state: string } => ({ home, state: join(home, '.local/state/glovebox') });
const resolve = (...folders: string[]): Promise<readonly string[]> => resolveToolFolders(folders, places());

describe('tool folders of a home', () => {
  test('are resolved; what is not installed is left out', async () => {
    expect(await resolve('~/.cargo', '~/.pyenv', '~/.nvm/versions')).toEqual([
      join(home, '.cargo'),
      join(home, '.nvm/versions'),
    ]);
  });

  test.each([
    ['~', 'holds the whole home'],
    ['~/.ssh', 'holds, or lies in'],
    ['relative', 'neither absolute'],
    ['/etc', 'that the sandbox has of its own'],
    ['/usr/share', 'that the sandbox has of its own'],
    ['/proc/self', 'that the sandbox has of its own'],
    ['/tmp', 'that the sandbox has of its own'],
  ])('[R23] %s is refused before anything starts: %s', async (folder, why) => {
    await expect(resolve(folder)).rejects.toMatchObject({
      code: 'GB_INPUT_INVALID',
      why: expect.stringContaining(why),
    });
  });

  test('[R27] files in them that hold credentials are found, also behind a link in the same folder', async () => {
    const found = await credentialsIn(await resolve('~/.cargo', '~/.m2', '~/.nvm', '~/go'));
    expect([...found].sort()).toEqual(
      ['.cargo/credentials.toml', '.m2/settings.xml', '.nvm/.npmrc', 'go/pkg/auth.json'].map((path) =>
        join(home, path),
      ),
    );
  });
});
