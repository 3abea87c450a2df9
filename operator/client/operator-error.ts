import { errorCatalogue, GloveboxError, type ErrorBody, type ErrorCode } from '../../pure/contracts/index.ts';

/** An error as the control plane worded it. */
export class OperatorError extends Error {
  readonly body: ErrorBody;
  readonly status: number;

  constructor(body: ErrorBody, status: number) {
    super(`${body.error.code}: ${body.error.what}`);
    this.name = 'OperatorError';
    this.body = body;
    this.status = status;
  }

  get exitCode(): number {
    return errorCatalogue[this.body.error.code].exit;
  }
}

const isCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(errorCatalogue, value);

/** The error in a response's or a daemon's line of text, or undefined where it holds none of the catalogue. */
export function readErrorBody(text: string): ErrorBody | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('error' in value)) return undefined;
  const error: unknown = value.error;
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, what, why, todo } = error as Record<string, unknown>;
  if (!isCode(code) || typeof what !== 'string' || typeof why !== 'string' || typeof todo !== 'string')
    return undefined;
  return { error: { code, what, why, todo } };
}

/** The error of an answer that is not a success. */
export function refusal(status: number, text: string): Error {
  const body = readErrorBody(text);
  if (body !== undefined) return new OperatorError(body, status);
  return new GloveboxError('GB_UPSTREAM_FAILED', {
    what: 'The control plane',
    detail: `status ${status}: ${text.slice(0, 300)}`,
  });
}
