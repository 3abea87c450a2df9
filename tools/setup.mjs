// Makes a fresh checkout ready: packages, bundles, tools. It needs Node alone, and does only what is missing.
import { accessSync, constants, existsSync, mkdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './setup/lock.mjs';
import { installPackages } from './setup/packages.mjs';
import { found, isCheckout, readyFile, root, scratch } from './setup/paths.mjs';
import { say, sayError, SetupError } from './setup/say.mjs';
import { findTools } from './setup/tools.mjs';
import { atLeast } from './setup/versions.mjs';
import { onPath } from './setup/command.mjs';

const neededNode = '20.10';

function checkHost() {
  if (process.platform !== 'linux')
    throw new SetupError(
      `Glovebox runs on Linux, this is ${process.platform}.`,
      'Use a Linux machine or VM.',
    );
  if (!atLeast(process.versions.node, neededNode))
    throw new SetupError(
      `Node ${process.versions.node} is too old: Glovebox needs ${neededNode} or later.`,
      'Install Node.js 20 or later (https://nodejs.org/en/download), then run the same command again.',
    );
  if (!isCheckout) return;
  try {
    accessSync(root, constants.W_OK);
  } catch {
    throw new SetupError(
      `${root} has to be set up, and you may not write to it.`,
      'Run ./glovebox once as its owner, or clone Glovebox to a folder of your own.',
    );
  }
}

/** @param {string} path @param {string} content */
function replace(path, content) {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

/** Brings the checkout up to date; says nothing when there is nothing to do. */
export async function setUp() {
  checkHost();
  // A source that changes while we build is newer than this moment, so the launcher will ask again.
  const began = new Date();
  const first = !existsSync(readyFile);
  await withLock(join(scratch, 'setup.lock'), 'setting Glovebox up', async () => {
    // An installed package brings its bundles, and npm has installed what it needs.
    let changed = false;
    if (isCheckout) {
      changed = await installPackages();
      const { build } = await import('./build.mjs');
      changed = (await build()) || changed;
    }
    const tools = await findTools();
    mkdirSync(found, { recursive: true, mode: 0o700 });
    replace(join(found, 'tools.json'), `${JSON.stringify(tools, null, 2)}\n`);
    const node = onPath('node') ?? process.execPath;
    replace(readyFile, `${node}\n${tools.runsc}\n${tools.natsServer}\n`);
    utimesSync(readyFile, began, began);
    if (changed && first) say('ready');
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp();
  } catch (error) {
    sayError(error);
    process.exitCode = 1;
  }
}
