import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { GloveboxError, limits, type CreateSessionRequest } from '../../../pure/contracts/index.ts';
import { readDuration } from './duration.ts';
import { agentEnvironment } from './environment.ts';

export interface RunOptions {
  readonly policy?: string;
  readonly preset?: string;
  readonly image?: string;
  readonly tier?: string;
  readonly ttl?: string;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly name?: string;
  readonly env?: readonly string[];
  readonly envPlain?: readonly string[];
  readonly detach?: boolean;
  readonly workspace?: string;
  readonly json?: boolean;
}

/** What the run has at its two ends. */
export interface Ends {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly rows: number;
  readonly cols: number;
}

/** What the person's side of a process is: a terminal of some size, or not. */
export const endsOf = ({ stdin, stdout }: Pick<NodeJS.Process, 'stdin' | 'stdout'>): Ends => ({
  stdin: stdin.isTTY,
  stdout: stdout.isTTY,
  rows: (stdout.isTTY && stdout.rows) || 24,
  cols: (stdout.isTTY && stdout.columns) || 80,
});

export function sessionRequest(
  command: readonly string[],
  options: RunOptions,
  ends: Ends,
  env: Readonly<Record<string, string | undefined>>,
): CreateSessionRequest {
  const detach = options.detach === true;
  const terminal = options.tty === true || (!detach && ends.stdin && ends.stdout);
  return {
    command: [...command],
    workspace: resolve(options.workspace ?? '.'),
    env: agentEnvironment(options.env ?? [], options.envPlain ?? []),
    terminal: terminal ? { rows: ends.rows, cols: ends.cols, term: termName(env['TERM']) } : null,
    // What a person types at a terminal is for the terminal; a pipe or a file is the command's input.
    stdin: !detach && (terminal || options.interactive === true || !ends.stdin),
    detach,
    path: env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.preset === undefined ? {} : { preset: options.preset }),
    ...(options.policy === undefined ? {} : { policy: readPolicy(options.policy) }),
    ...(options.tier === undefined ? {} : { tier: options.tier }),
    ...(options.ttl === undefined ? {} : { ttlSeconds: readDuration(options.ttl) }),
  };
}

const termName = (term: string | undefined): string =>
  term !== undefined && /^[A-Za-z0-9._+-]{1,64}$/.test(term) ? term : 'xterm-256color';

export function readPolicy(file: string): { text: string; file: string } {
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: `The policy file ${file}`, detail });
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw refuse('there is no such file');
  if (!stat.isFile()) throw refuse('it is not a file');
  if (stat.size > limits.policyFile.value) throw refuse(`it is larger than ${limits.policyFile.value} bytes`);
  try {
    return { text: readFileSync(file, 'utf8'), file };
  } catch (error) {
    throw refuse(error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read');
  }
}
