import { asGloveboxError, type ErrorBody } from '../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../pure/render/index.ts';
import { OperatorError } from '../client/index.ts';

export interface Failure {
  readonly body: ErrorBody;
  readonly exitCode: number;
}

export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof OperatorError) return { body: thrown.body, exitCode: thrown.exitCode };
  const error = asGloveboxError(thrown);
  return { body: error.toBody(), exitCode: error.exitCode };
}

/** Three short lines: what happened, why, what to do. */
export function failureText(body: ErrorBody): string {
  const { what, why, todo } = body.error;
  return [`glovebox: ${what}`, `  ${why}`, `  ${todo}`]
    .map((line) => `${escapeUntrusted(line, 2000)}\n`)
    .join('');
}

/** Writes the failure to stderr and returns the exit code. Never a stack trace. */
export function reportFailure(thrown: unknown, json: boolean): number {
  const failure = failureOf(thrown);
  process.stderr.write(json ? `${JSON.stringify(failure.body)}\n` : failureText(failure.body));
  return failure.exitCode;
}
