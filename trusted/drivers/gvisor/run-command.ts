import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { GloveboxError } from '../../../pure/contracts/index.ts';

const run = promisify(execFile);

/** A host tool, by absolute name from a fixed PATH: the caller's PATH may lead into a project. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  try {
    const { stdout } = await run(program, [...args], {
      cwd: options.cwd ?? '/',
      env: hostEnvironment,
      timeout: options.timeoutMs ?? 30_000,
      maxBuffer: 16 * 1024 * 1024,
      killSignal: 'SIGKILL',
    });
    return stdout;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new GloveboxError(
      'GB_SANDBOX_START',
      { detail: `${program} failed: ${said === '' ? String(error) : said}` },
      { cause: error },
    );
  }
}

export const hostEnvironment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } as const;
