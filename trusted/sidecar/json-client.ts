import { request, type Agent, type RequestOptions } from 'node:https';
import type { z } from 'zod';
import { errorCatalogue, GloveboxError, limits, type ErrorCode } from '../../pure/contracts/index.ts';

export interface JsonCall<S extends z.ZodType> {
  readonly host: string;
  readonly port: number;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly response: S;
  /** For messages: whom we ask. */
  readonly whom: string;
  readonly agent?: Agent;
  readonly tls?: RequestOptions;
}

/** One request to one of our own servers; who it is has been checked by the TLS options or the agent. */
export async function callJson<S extends z.ZodType>(call: JsonCall<S>): Promise<z.infer<S>> {
  const { status, text } = await exchange(call);
  const value = parse(text);
  if (status !== 200) throw refusal(call.whom, status, value);
  const parsed = call.response.safeParse(value);
  if (!parsed.success) throw failed(call.whom, 'its answer is not of the agreed form');
  return parsed.data;
}

function exchange(call: JsonCall<z.ZodType>): Promise<{ readonly status: number; readonly text: string }> {
  const payload = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
  return new Promise((resolve, reject) => {
    const outgoing = request({
      ...call.tls,
      ...(call.agent === undefined ? { agent: false } : { agent: call.agent }),
      host: call.host,
      port: call.port,
      method: call.method,
      path: call.path,
      headers:
        payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length },
      timeout: limits.workloadAnswer.value,
    });
    const fail = (detail: string, cause?: unknown): void => {
      outgoing.destroy();
      reject(failed(call.whom, detail, cause));
    };
    const timer = setTimeout(() => fail('no answer in time'), limits.workloadAnswer.value);
    outgoing.once('close', () => clearTimeout(timer));
    outgoing.on('timeout', () => fail('no answer in time'));
    outgoing.on('error', (error) => fail(error.message, error));
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let length = 0;
      incoming.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > limits.workloadResponse.value) fail('its answer is too long');
        else chunks.push(chunk);
      });
      incoming.on('error', (error) => fail(error.message, error));
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    outgoing.end(payload);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(whom: string, status: number, value: unknown): GloveboxError {
  if (typeof value === 'object' && value !== null && 'error' in value) {
    const { error } = value;
    if (typeof error === 'object' && error !== null && 'code' in error && 'why' in error) {
      const detail = typeof error.why === 'string' ? error.why : 'no reason given';
      if (isCode(error.code)) return new GloveboxError(error.code, { detail });
    }
  }
  return failed(whom, `status ${status}`);
}

const isCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(errorCatalogue, value);

const failed = (what: string, detail: string, cause?: unknown): GloveboxError =>
  new GloveboxError('GB_UPSTREAM_FAILED', { what, detail }, { cause });
