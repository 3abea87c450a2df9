import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onPath, run } from './command.mjs';
import { withLock } from './lock.mjs';
import { found, root, toolCache } from './paths.mjs';
import { say, SetupError, withProgress } from './say.mjs';
import { atLeast, goVersion, natsVersion, pinned, runscVersion } from './versions.mjs';

const neededGo = '1.26';

/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} purpose
 * @property {string} module the module whose version go.mod pins
 * @property {string} main the package that is built
 * @property {string} atLeast the oldest that is taken from PATH
 * @property {(output: string) => string | undefined} version
 * @property {string} takes
 */

/** @type {readonly Tool[]} */
const tools = [
  {
    name: 'runsc',
    purpose: 'gVisor, the kernel around each sandbox',
    module: 'gvisor.dev/gvisor',
    main: 'gvisor.dev/gvisor/runsc',
    // Older ones lack flags that the floor needs.
    atLeast: '20260518',
    version: runscVersion,
    takes: 'one to three minutes, once',
  },
  {
    name: 'nats-server',
    purpose: 'the message bus',
    module: 'github.com/nats-io/nats-server/v2',
    main: 'github.com/nats-io/nats-server/v2',
    atLeast: '2.12.7',
    version: natsVersion,
    takes: 'about one minute, once',
  },
];

/** @param {Tool} tool @returns {Promise<string | undefined>} */
async function fromPath(tool) {
  const path = onPath(tool.name);
  if (path === undefined) return undefined;
  const { ok, output } = await run([path, '--version'], { expect: false });
  const version = ok ? tool.version(output) : undefined;
  if (version !== undefined && atLeast(version, tool.atLeast)) return path;
  say(`${path} is ${version ?? 'of unknown version'}, Glovebox needs ${tool.atLeast} or later: not used`);
  return undefined;
}

/** @param {string} why @returns {Promise<string>} the go command */
export async function requireGo(why) {
  const remedy = `Install Go ${neededGo} or later (https://go.dev/doc/install), then run the same command again.`;
  const go = onPath('go');
  if (go === undefined) throw new SetupError(`Go is missing: it is needed to build ${why}.`, remedy);
  const { output } = await run([go, 'version'], { env: { GOTOOLCHAIN: 'local' } });
  const version = goVersion(output);
  if (version === undefined || !atLeast(version, neededGo))
    throw new SetupError(`Go ${version ?? 'of unknown version'} is too old to build ${why}.`, remedy);
  return go;
}

/** @param {Tool} tool */
function placeOf(tool) {
  const folder = join(root, 'tools/go', tool.name);
  const version = pinned(readFileSync(join(folder, 'go.mod'), 'utf8'), tool.module);
  if (version === undefined)
    throw new SetupError(`tools/go/${tool.name}/go.mod does not pin ${tool.module}.`);
  const place = join(toolCache(), tool.name, version);
  return { folder, version, place, binary: join(place, tool.name) };
}

/** @param {Tool} tool @returns {Promise<string>} */
async function built(tool) {
  const { folder, version, place, binary } = placeOf(tool);
  if (existsSync(binary)) return binary;
  const go = await requireGo(`${tool.name} (${tool.purpose})`);
  return withLock(`${place}.lock`, `building ${tool.name}`, async () => {
    // The set-up that was waited for has built it.
    if (existsSync(binary)) return binary;
    say(`building ${tool.name} ${version}: ${tool.purpose} (${tool.takes})`);
    // What a killed build left is in the way of nothing, but large.
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { recursive: true });
    const temporary = join(place, `${tool.name}.${process.pid}.new`);
    const env = { CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' };
    try {
      await withProgress(`${tool.name}: fetching its modules`, () =>
        run([go, 'mod', 'download'], { cwd: folder, env }),
      );
      await withProgress(`${tool.name}: compiling`, () =>
        run([go, 'build', '-mod=readonly', '-trimpath', '-buildvcs=false', '-o', temporary, tool.main], {
          cwd: folder,
          env,
        }),
      );
      renameSync(temporary, binary);
    } finally {
      rmSync(temporary, { force: true });
    }
    return binary;
  });
}

/** @type {Tool} */
const crane = {
  name: 'crane',
  purpose: 'what fetches images',
  module: 'github.com/google/go-containerregistry',
  main: 'github.com/google/go-containerregistry/cmd/crane',
  atLeast: '',
  version: () => undefined,
  takes: 'half a minute, once',
};

/** @type {Tool} */
const opa = {
  name: 'opa',
  purpose: 'Open Policy Agent, the second policy engine',
  module: 'github.com/open-policy-agent/opa',
  main: 'github.com/open-policy-agent/opa',
  atLeast: '',
  version: () => undefined,
  takes: 'two minutes, once',
};

/** For tests and benchmarks; whoever chooses this engine runs a server of their own. @returns {Promise<string>} */
export const opaProgram = () => built(opa);

/** Builds crane where it is not, and notes where it is beside the other tools; only `--image` needs it. */
export async function noteCrane() {
  const binary = await built(crane);
  const file = join(found, 'tools.json');
  const temporary = `${file}.${process.pid}.new`;
  const noted = { ...JSON.parse(readFileSync(file, 'utf8')), crane: binary };
  writeFileSync(temporary, `${JSON.stringify(noted, null, 2)}\n`);
  renameSync(temporary, file);
  return binary;
}

/** Where crane was built, if it was. */
export function builtCrane() {
  const binary = placeOf(crane).binary;
  return existsSync(binary) ? binary : undefined;
}

/** Finds or builds runsc and nats-server. @returns {Promise<{ runsc: string, natsServer: string, crane?: string }>} */
export async function findTools() {
  /** @type {string[]} */
  const paths = [];
  for (const tool of tools) paths.push((await fromPath(tool)) ?? (await built(tool)));
  const [runsc = '', natsServer = ''] = paths;
  const fetcher = builtCrane();
  return { runsc, natsServer, ...(fetcher === undefined ? {} : { crane: fetcher }) };
}
