// Imports every runtime dependency: a release for a newer Node, or a native one that was not built, fails here.
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/paths.mjs';

/** Packages that Node loads by another name than their own. @type {Record<string, string>} */
const entries = { '@cedar-policy/cedar-wasm': '@cedar-policy/cedar-wasm/nodejs' };

const names = Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).dependencies);
for (const name of names) {
  try {
    await import(entries[name] ?? name);
  } catch (error) {
    console.log(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
console.log(`${names.length} runtime dependencies`);
