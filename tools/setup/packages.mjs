import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { onPath, run } from './command.mjs';
import { root } from './paths.mjs';
import { say, SetupError, withProgress } from './say.mjs';

const native = ['better-sqlite3', 'fs-xattr'];

/** @param {string} path @returns {Record<string, { version?: string, integrity?: string, optional?: boolean }>} */
function packagesOf(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages;
}

/** npm writes down what it installed: compare that with the lock file, and nothing has to be installed twice. */
function areInstalled() {
  const installedFile = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const installed = packagesOf(installedFile);
  return Object.entries(packagesOf(join(root, 'package-lock.json'))).every(([path, wanted]) => {
    if (path === '') return true;
    const have = installed[path];
    if (have === undefined) return wanted.optional === true;
    return have.version === wanted.version && have.integrity === wanted.integrity;
  });
}

/** Native packages are compiled for one major version of Node. @param {string} name */
async function nativeWorks(name) {
  const proof = name === 'better-sqlite3' ? `new (require(name))(':memory:').close()` : 'require(name)';
  const script = `const name = process.argv[1]; ${proof}`;
  return (await run([process.execPath, '-e', script, name], { cwd: root, expect: false })).ok;
}

/** What npm needs to be told of this machine. @returns {Record<string, string>} */
export function npmEnvironment() {
  /** @type {Record<string, string>} */
  const env = {};
  // Where no prebuilt binary can be fetched, node-gyp compiles, and looks for Node's headers on the Internet
  // unless it is told that they lie beside the running Node.
  const prefix = dirname(dirname(process.execPath));
  if (existsSync(join(prefix, 'include/node/node.h'))) env['npm_config_nodedir'] = prefix;
  // npm trusts its own list of authorities; a company's proxy is known to the system's.
  const system = '/etc/ssl/certs/ca-certificates.crt';
  if (process.env['NODE_EXTRA_CA_CERTS'] === undefined && existsSync(system))
    env['NODE_EXTRA_CA_CERTS'] = system;
  return env;
}

/** @param {string[]} args @param {string} what */
async function npm(args, what) {
  const program = onPath('npm');
  if (program === undefined)
    throw new SetupError('npm is missing.', 'Install Node.js 20 with npm (https://nodejs.org/en/download).');
  await withProgress(what, () =>
    run([program, ...args, '--no-audit', '--no-fund'], {
      cwd: root,
      env: npmEnvironment(),
      // A declared engine is a maker's word; tools/checks/dependencies.mjs imports each one and so knows.
      show: true,
      drop: /Unknown (env|user) config "nodedir"|npm warn (EBADENGINE|install-scripts)|^$/,
    }),
  );
}

/** Installs exactly what package-lock.json names. @returns {Promise<boolean>} whether anything had to be done */
export async function installPackages() {
  let changed = false;
  if (!areInstalled()) {
    say('installing the npm packages of package-lock.json (about a minute; native ones may be compiled)');
    await npm(['ci'], 'npm ci');
    changed = true;
  }
  for (const name of native) {
    if (await nativeWorks(name)) continue;
    say(`${name} does not load in Node ${process.versions.node}: building it anew`);
    await npm(['rebuild', name], `npm rebuild ${name}`);
    if (!(await nativeWorks(name)))
      throw new SetupError(
        `The native package ${name} does not load.`,
        'Install a C++ compiler, make and python3 (Debian: apt install build-essential python3), then try again.',
      );
    changed = true;
  }
  return changed;
}
