import { build } from 'esbuild';
import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../../..');
const banner = [
  `import { createRequire as gbCreateRequire } from 'node:module';`,
  `import { fileURLToPath as gbFileURLToPath } from 'node:url';`,
  `const require = gbCreateRequire(import.meta.url);`,
  `const __filename = gbFileURLToPath(import.meta.url);`,
  `const __dirname = gbFileURLToPath(new URL('.', import.meta.url));`,
].join('\n');

export interface BuiltCli {
  readonly program: string;
  readonly dist: string;
  /** What the start of `run` loads, before anything was asked of the control plane. */
  readonly inputs: readonly string[];
  remove(): void;
}

/** The command line as it is shipped, split the same way, in a folder of the test's own. */
export async function builtCli(): Promise<BuiltCli> {
  const home = mkdtempSync(join(tmpdir(), 'gb-cli-'));
  const dist = join(home, 'dist');
  mkdirSync(dist);
  copyFileSync(join(root, 'package.json'), join(home, 'package.json'));
  const result = await build({
    absWorkingDir: root,
    outdir: dist,
    entryPoints: { cli: 'operator/cli/main.ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.10',
    banner: { js: banner },
    splitting: true,
    chunkNames: 'cli/[name]-[hash]',
    metafile: true,
    logLevel: 'warning',
  });
  return {
    program: join(dist, 'cli.js'),
    dist,
    inputs: Object.keys(result.metafile.inputs),
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
}

/** Starts the program with pipes; `input` is all of its stdin, undefined leaves it open. */
export function startCli(
  cli: BuiltCli,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input?: Uint8Array | string,
  cwd?: string,
): Running {
  const child = spawn(process.execPath, [cli.program, ...args], { env, cwd, stdio: 'pipe' });
  if (input !== undefined) child.stdin.end(input);
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const finished = new Promise<Finished>((resolve) => {
    child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out), stderr }));
  });
  return { child, finished };
}

export const runCli = (
  cli: BuiltCli,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input: Uint8Array | string = '',
  cwd?: string,
): Promise<Finished> => startCli(cli, args, env, input, cwd).finished;

export interface OnTerminal {
  /** What the terminal showed so far. */
  screen(): string;
  type(text: string): void;
  /** Waits until the terminal has shown this, after `from`. */
  shows(what: RegExp, from?: number): Promise<RegExpExecArray>;
  readonly child: ChildProcess;
  readonly finished: Promise<number | null>;
}

/** Starts the program on a pseudo-terminal (util-linux `script`), 24 by 80. */
export function cliOnTerminal(
  cli: BuiltCli,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  around: (command: string) => string = (command) => command,
): OnTerminal {
  const words = [process.execPath, cli.program, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  const command = `stty rows 24 cols 80; ${around(words.join(' '))}`;
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    env: { ...env, SHELL: '/bin/sh' },
    stdio: 'pipe',
  });
  let screen = '';
  const waiting = new Set<() => void>();
  const take = (text: string): void => {
    screen += text;
    waiting.forEach((check) => check());
  };
  child.stdout.setEncoding('utf8').on('data', take);
  child.stderr.setEncoding('utf8').on('data', take);
  const finished = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      take('');
      resolve(code);
    });
  });
  return {
    child,
    finished,
    screen: () => screen,
    type: (text) => void child.stdin.write(text),
    shows: (what, from = 0) =>
      new Promise((resolve) => {
        const check = (): void => {
          const found = what.exec(screen.slice(from));
          if (found === null) return;
          waiting.delete(check);
          resolve(found);
        };
        waiting.add(check);
        check();
      }),
  };
}
