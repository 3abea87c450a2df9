import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../pure/contracts/index.ts';
import { credentialFiles, isCredentialFile } from '../../../pure/policy/index.ts';
import { findCredentialFiles } from './credential-walk.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-walk-'));
  for (const path of ['a/b', 'node_modules/x', '.git/objects', '.aws'])
    mkdirSync(join(folder, path), { recursive: true });
  for (const path of [
    '.env',
    'a/b/.env',
    'a/b/id_rsa',
    '.aws/credentials',
    'a/plain.txt',
    'node_modules/x/.env',
    '.git/.env',
  ])
    writeFileSync(join(folder, path), 'x');
  symlinkSync('/etc/hostname', join(folder, 'a/.npmrc'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the search for credential files', () => {
  const expected = ['.aws/credentials', '.env', 'a/.npmrc', 'a/b/.env', 'a/b/id_rsa'];

  it('[R48] finds the same in a small project, walked here, and in one that is left to find', async () => {
    expect((await findCredentialFiles(folder, [])).sort()).toEqual(expected);
    for (let number = 0; number <= limits.credentialWalkFolders.value; number += 1)
      mkdirSync(join(folder, `more/${String(number)}`), { recursive: true });
    expect((await findCredentialFiles(folder, [])).sort()).toEqual(expected);
  });

  it('[R48] each name and path of the list is found in a large project, whatever stands around it', async () => {
    for (let number = 0; number <= limits.credentialWalkFolders.value; number += 1)
      mkdirSync(join(folder, `more/${String(number)}`), { recursive: true });
    // Each star stands for nothing, for a word, for a line break.
    const named = credentialFiles.names.flatMap((name) =>
      name.includes('*') ? ['', 'word', 'two\nlines'].map((text) => name.replace('*', text)) : [name],
    );
    const paths = [...named, ...credentialFiles.paths].map(
      (name, number) => `deep\nline/${String(number)}/${name}`,
    );
    const others = ['xid_rsa', 'id_rsax', '.envx', 'a.pemx', 'credentialsXjson', 'hosts.yml'].map(
      (name) => `others/${name}`,
    );
    for (const path of [...paths, ...others]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), 'x');
    }
    const found = await findCredentialFiles(folder, []);
    expect(found.filter((path) => path.startsWith('deep')).sort()).toEqual(
      paths.filter((path) => isCredentialFile(path, [])).sort(),
    );
    expect(found.filter((path) => path.startsWith('deep')).length).toBeGreaterThan(60);
    expect(found.filter((path) => path.startsWith('others'))).toEqual([]);
  });

  it('leaves out what the policy shows', async () => {
    expect((await findCredentialFiles(folder, ['**/.env', '.env'])).sort()).toEqual([
      '.aws/credentials',
      'a/.npmrc',
      'a/b/id_rsa',
    ]);
  });

  it('refuses a folder that is not there', async () => {
    await expect(findCredentialFiles(join(folder, 'none'), [])).rejects.toMatchObject({
      code: 'GB_SANDBOX_START',
    });
  });
});
