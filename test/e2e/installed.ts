import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { checkout } from './world.ts';

/** What the bundles load from beside them, and what that loads. */
const packages = ['@cedar-policy/cedar-wasm', 'better-sqlite3', 'bindings', 'file-uri-to-path', 'fs-xattr'];

/** Glovebox as an administrator would install it: bundles and tools, no sources, readable by all and writable by none of them. */
export function installedPackage(folder: string): string {
  const copy = (part: string): void =>
    cpSync(join(checkout, part), join(folder, part), {
      recursive: true,
      dereference: true,
      filter: (path) => !/better-sqlite3\/(deps|src)$/.test(path),
    });
  for (const part of ['glovebox', 'package.json', 'presets', 'dist']) copy(part);
  for (const name of packages) copy(join('node_modules', name));
  const given = JSON.parse(readFileSync(join(checkout, 'dist/tools.json'), 'utf8')) as Record<string, string>;
  mkdirSync(join(folder, 'tools'));
  const tools = Object.fromEntries(
    Object.entries(given).map(([name, path]) => {
      const place = join(folder, 'tools', basename(path));
      cpSync(path, place, { dereference: true });
      return [name, place];
    }),
  );
  writeFileSync(join(folder, 'dist/tools.json'), JSON.stringify(tools));
  const [node] = readFileSync(join(checkout, 'dist/.ready'), 'utf8').split('\n');
  writeFileSync(
    join(folder, 'dist/.ready'),
    `${node ?? ''}\n${tools['runsc'] ?? ''}\n${tools['natsServer'] ?? ''}\n`,
  );
  spawnSync('chmod', ['-R', 'u+rwX,go=rX', folder]);
  chmodSync(folder, 0o755);
  return join(folder, 'glovebox');
}
