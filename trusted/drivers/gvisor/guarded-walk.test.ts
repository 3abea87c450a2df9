import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostExecuted, hostExecutedTable } from '../../../pure/policy/index.ts';
import { guardedPaths } from './guarded-walk.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gb-guarded-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the search for what host tools execute unasked', () => {
  it('[R48] finds each name of the table, in either case, whatever its stars stand for', async () => {
    const names = hostExecutedTable
      .flatMap((row) => row.names)
      .flatMap((name) =>
        ['', 'word', 'two\nlines', ...(name.includes('/') ? ['a/b'] : [])].map((text) =>
          name.replaceAll('*', text),
        ),
      )
      .flatMap((name) => [name, name.toUpperCase()]);
    const made = [...new Set(names)].map((name, number) => `deep/${String(number)}/${name}`);
    for (const path of made) {
      const file = join(folder, path.endsWith('/') ? `${path}inside` : path);
      mkdirSync(dirname(file), { recursive: true });
      if (!existsSync(file)) writeFileSync(file, 'x');
    }
    const { readOnly } = await guardedPaths(folder, 'direct');
    const guarded = (path: string): boolean =>
      readOnly.some((found) => path === found || path === `${found}/` || path.startsWith(`${found}/`));
    const listed = made.filter((path) => hostExecuted(path) !== null && !path.includes('/.git/'));
    expect(listed.length).toBeGreaterThan(100);
    expect(listed.filter((path) => !guarded(path))).toEqual([]);
  });

  it('leaves alone what is not on it', async () => {
    for (const path of [
      'src/main.ts',
      'xMakefile',
      'Makefilex',
      'notes/HEADer',
      'node_modules/x/package.json',
    ]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), 'x');
    }
    expect((await guardedPaths(folder, 'direct')).readOnly).toEqual([]);
  });
});
