import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { SetupError } from './say.mjs';

/** Where a shell would find this program, or undefined. @param {string} name */
export function onPath(name) {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (!folder.startsWith('/')) continue;
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** npm and Go both refuse to work without a home; some services and containers start without one. */
function environment(/** @type {Record<string, string>} */ extra) {
  return { ...process.env, HOME: process.env['HOME'] || homedir(), ...extra };
}

/**
 * Runs a program without a shell and without stdin. Its output is shown if `show`, and quoted if it fails.
 * @param {readonly string[]} argv
 * @param {{ cwd?: string, env?: Record<string, string>, show?: boolean, drop?: RegExp, expect?: boolean }} [options]
 *   `expect: false` returns a failure instead of throwing it; `drop` hides lines that say nothing to the user
 * @returns {Promise<{ ok: boolean, output: string }>}
 */
export function run(argv, options = {}) {
  const [program = '', ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      cwd: options.cwd,
      env: environment(options.env ?? {}),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let line = '';
    /** @param {string} text */
    const take = (text) => {
      output = (output + text).slice(-200_000);
      if (!options.show) return;
      const lines = (line + text).split('\n');
      line = lines.pop() ?? '';
      for (const one of lines) if (!options.drop?.test(one)) process.stderr.write(`  ${one}\n`);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', (error) => {
      if (options.expect === false) resolve({ ok: false, output: error.message });
      else reject(new SetupError(`${program} could not be started: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      const ok = code === 0;
      if (ok || options.expect === false) return resolve({ ok, output });
      const end = options.show ? '' : `\n${output.trimEnd().split('\n').slice(-30).join('\n')}`;
      reject(new SetupError(`${argv.slice(0, 3).join(' ')} ended with ${signal ?? code}${end}`));
    });
  });
}
