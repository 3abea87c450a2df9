// Bundles every program into dist/. An unchanged tree builds nothing: each output has a stamp of its sources.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onPath, run } from './setup/command.mjs';
import { dist, root } from './setup/paths.mjs';
import { say, sayError, SetupError, withProgress } from './setup/say.mjs';
import { bundleSources, digest, initSources } from './setup/sources.mjs';

/** Each program, and what it is bundled from. The CLI is split, so that a command loads only what it uses. */
export const programs = {
  cli: 'operator/cli/main.ts',
  'control-plane': 'trusted/control-plane/main.ts',
  signer: 'trusted/signer/main.ts',
  'secret-broker': 'trusted/secrets/main.ts',
  sidecar: 'trusted/sidecar/main.ts',
  'image-unpacker': 'trusted/images/unpack/main.ts',
  'provider-forwarder': 'trusted/drivers/forwarder/main.ts',
  'provider-files': 'untrusted/providers/files/main.ts',
  'agent-sdk': 'untrusted/agent-sdk/index.ts',
};

/** Native and wasm packages load a file that lies beside them. */
export const external = ['better-sqlite3', 'fs-xattr', '@cedar-policy/cedar-wasm'];

// CommonJS packages inside an ES module bundle still ask for these three.
const banner = [
  `import { createRequire as gbCreateRequire } from 'node:module';`,
  `import { fileURLToPath as gbFileURLToPath } from 'node:url';`,
  `const require = gbCreateRequire(import.meta.url);`,
  `const __filename = gbFileURLToPath(import.meta.url);`,
  `const __dirname = gbFileURLToPath(new URL('.', import.meta.url));`,
].join('\n');

/** zod brings its messages in fifty languages, and each process would hold them all. @type {import('esbuild').Plugin} */
const oneLanguage = {
  name: 'one-language',
  setup: (build) => {
    build.onLoad({ filter: /node_modules\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: `export { default as en } from './en.js';`,
    }));
  },
};

/** pg looks for a native driver, which is not among our packages: nothing outside of them is ever to be found. @type {import('esbuild').Plugin} */
const noNativeDriver = {
  name: 'no-native-driver',
  setup: (build) => {
    build.onResolve({ filter: /^pg-native$/ }, ({ path }) => ({ path, namespace: 'absent' }));
    build.onLoad({ filter: /^pg-native$/, namespace: 'absent' }, () => ({
      contents: 'module.exports = {};',
    }));
  },
};

const stampsFile = join(dist, 'stamps.json');

/** @typedef {{ bundles?: string, init?: string, outputs?: string[] }} Stamps */

/** @returns {Stamps} */
function readStamps() {
  if (!existsSync(stampsFile)) return {};
  try {
    return JSON.parse(readFileSync(stampsFile, 'utf8'));
  } catch {
    // A stamp that a crash cut short only means that everything is built again.
    return {};
  }
}

/** A running daemon may be reading the old file: replace it in one step. @param {string} path @param {Uint8Array | string} content */
function replace(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

/** @param {string[]} previous @returns {Promise<string[]>} the outputs, relative to dist/ */
async function bundle(previous) {
  const esbuild = await import('esbuild');
  const present = Object.entries(programs).filter(([, entry]) => existsSync(join(root, entry)));
  // One self-contained file for each program that runs confined: its jail shows it that file and no other.
  const builds = present.map(([name, entry]) =>
    esbuild.build({
      absWorkingDir: root,
      outdir: dist,
      entryPoints: { [name]: entry },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.10',
      external,
      plugins: [oneLanguage, noNativeDriver],
      // Names stay, for stack traces; what no machine reads is 30 MB of all processes' memory.
      minifyWhitespace: true,
      banner: { js: banner },
      splitting: name === 'cli',
      chunkNames: 'cli/[name]-[hash]',
      metafile: true,
      write: false,
      logLevel: 'warning',
    }),
  );
  const results = await Promise.allSettled(builds);
  /** @type {Record<string, { inputs: string[], external: string[] }>} */
  const made = {};
  /** @type {string[]} */
  const outputs = [];
  /** @type {string[]} */
  const failed = [];
  results.forEach((result, index) => {
    const name = present[index]?.[0] ?? '';
    if (result.status === 'rejected') {
      failed.push(name);
      return;
    }
    const { inputs, outputs: files } = result.value.metafile;
    const imports = Object.values(files).flatMap((file) => file.imports.filter((one) => one.external));
    made[name] = {
      inputs: Object.keys(inputs).sort(),
      external: [...new Set(imports.map((one) => one.path))].sort(),
    };
    for (const file of result.value.outputFiles) {
      replace(file.path, file.contents);
      outputs.push(relative(dist, file.path));
    }
  });
  if (failed.length > 0) throw new SetupError(`these programs could not be bundled: ${failed.join(', ')}`);
  // What each program is made of: tests read it to show that no bundle holds what it must not.
  replace(join(dist, 'inputs.json'), `${JSON.stringify(made, null, 1)}\n`);
  // A CLI that is running may still load a piece of the build before this one, but no older ones.
  const kept = new Set([...outputs, ...previous]);
  const pieces = join(dist, 'cli');
  for (const name of existsSync(pieces) ? readdirSync(pieces) : [])
    if (!kept.has(`cli/${name}`)) rmSync(join(pieces, name));
  return outputs;
}

async function buildInit() {
  const go = onPath('go');
  if (go === undefined)
    throw new SetupError(
      'Go is missing: it is needed to build init, the first program in each sandbox.',
      'Install Go 1.26 or later (https://go.dev/doc/install), then run this again.',
    );
  const temporary = join(dist, `init.${process.pid}.new`);
  mkdirSync(dist, { recursive: true });
  try {
    await run(
      [go, 'build', '-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags=-s -w', '-o', temporary, '.'],
      {
        cwd: join(root, 'untrusted/init'),
        env: { CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
      },
    );
    renameSync(temporary, join(dist, 'init'));
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** The page that a package brings, in the commands' own words. */
async function writeManual() {
  const { output } = await run([process.execPath, join(dist, 'cli.js'), 'manual']);
  replace(join(dist, 'glovebox.1'), output);
}

/** Builds what changed. @returns {Promise<boolean>} whether anything was built */
export async function build() {
  const stamps = readStamps();
  const bundles = digest(bundleSources());
  const hasInit = existsSync(join(root, 'untrusted/init/go.mod'));
  const init = hasInit ? digest(initSources()) : '';
  const whole = (stamps.outputs ?? []).every((output) => existsSync(join(dist, output)));
  const staleBundles = stamps.bundles !== bundles || !whole;
  const staleInit = hasInit && (stamps.init !== init || !existsSync(join(dist, 'init')));
  if (!staleBundles && !staleInit) return false;

  say('building the programs into dist/ (a few seconds)');
  /** @param {Partial<Stamps>} part */
  const note = (part) => replace(stampsFile, `${JSON.stringify({ ...readStamps(), ...part })}\n`);
  if (staleBundles) {
    const outputs = await withProgress('bundles (esbuild)', () => bundle(stamps.outputs ?? []));
    note({ bundles, outputs });
  }
  if (staleBundles) await writeManual();
  if (staleInit) {
    await withProgress('init (Go)', buildInit);
    note({ init });
  }
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (!(await build())) say('nothing to build: dist/ is up to date');
  } catch (error) {
    sayError(error);
    process.exitCode = 1;
  }
}
