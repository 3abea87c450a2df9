import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './paths.mjs';

const ignored = new Set(['node_modules', 'testdata', '.build', 'dist']);

/** Every file below `folder` that `wanted` accepts, sorted, as absolute paths.
 * @param {string} folder @param {(name: string) => boolean} wanted @returns {string[]} */
export function filesBelow(folder, wanted) {
  /** @type {string[]} */
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!ignored.has(entry.name)) found.push(...filesBelow(path, wanted));
    } else if (entry.isFile() && wanted(entry.name)) found.push(path);
  }
  return found.sort();
}

/** A digest over the names and contents of files: dates change on every checkout, contents do not.
 * @param {readonly string[]} files */
export function digest(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${relative(root, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** @param {string} name */
const isProduct = (name) =>
  /[.](ts|json|ya?ml|sql|cedar|cedarschema)$/.test(name) && !/[.]test[.]ts$|^tsconfig.*json$/.test(name);
/** @param {string} name */
const isGo = (name) => /^go[.](mod|sum)$/.test(name) || (name.endsWith('.go') && !name.endsWith('_test.go'));

export function bundleSources() {
  const rooms = ['pure', 'trusted', 'untrusted', 'operator', 'presets'].flatMap((room) =>
    filesBelow(join(root, room), isProduct),
  );
  return [...rooms, join(root, 'package-lock.json'), join(root, 'tools/build.mjs')];
}

export function initSources() {
  return filesBelow(join(root, 'untrusted/init'), isGo);
}
