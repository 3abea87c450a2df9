import { execFile } from 'node:child_process';
import { limits } from '../../../pure/contracts/index.ts';
import type { Attempt } from '../../../pure/host/index.ts';
import { hostEnvironment } from '../gvisor/run-command.ts';

export interface Tried {
  readonly attempt: Attempt;
  readonly output: string;
}

export const works: Attempt = { works: true };
export const fails = (said: string): Attempt => ({ works: false, said: oneLine(said) });

/** Runs one program of the host, for at most the limit, and says in one line why it failed. Never rejects. */
export async function attempt(
  program: string,
  args: readonly string[],
  timeoutMs: number = limits.hostProbe.value,
): Promise<Tried> {
  return await new Promise((resolve) => {
    const options = { cwd: '/', env: hostEnvironment, timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    execFile(program, [...args], options, (error, output, errors) => {
      if (error === null) return resolve({ attempt: works, output });
      const reason =
        error.killed === true
          ? `${program} did not end in ${timeoutMs} ms`
          : error.code === 'ENOENT'
            ? `there is no ${program}`
            : errors.trim() === ''
              ? `${program} ended with ${error.code ?? error.signal ?? 'an error'}`
              : errors;
      resolve({ attempt: fails(reason), output });
    });
  });
}

/** The first line says most; what a tool prints may be long, and is shown on a terminal. */
const oneLine = (text: string): string =>
  (text.trim().split('\n')[0] ?? '').replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
