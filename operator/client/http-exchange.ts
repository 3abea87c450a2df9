import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { refusal } from './operator-error.ts';

export interface Exchange {
  readonly socketPath: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** An API token: what is asked is asked as its bearer. */
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Why the socket gave no answer, in words that say what to do. */
export function unreachable(error: NodeJS.ErrnoException, socketPath: string): GloveboxError {
  const why =
    error.code === 'ENOENT'
      ? `nothing listens at ${socketPath}`
      : error.code === 'ECONNREFUSED'
        ? `${socketPath} is left over from a control plane that ended`
        : error.code === 'EACCES'
          ? `${socketPath} belongs to another user`
          : `the connection to ${socketPath} ended (${error.code ?? error.message})`;
  return new GloveboxError('GB_DAEMON_UNREACHABLE', { detail: why }, { cause: error });
}

export function startRequest(exchange: Exchange): ClientRequest {
  const body = exchange.body === undefined ? undefined : JSON.stringify(exchange.body);
  const req = request({
    socketPath: exchange.socketPath,
    method: exchange.method,
    path: exchange.path,
    agent: false,
    ...(exchange.signal === undefined ? {} : { signal: exchange.signal }),
    headers: {
      host: 'glovebox',
      accept: 'application/json',
      ...(exchange.token === undefined ? {} : { authorization: `Bearer ${exchange.token}` }),
      ...exchange.headers,
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
  });
  // Written at once, not only corked with the headers: this is the start of every command.
  req.end(body);
  return req;
}

/** The response of a successful exchange, its body not yet read. */
export function open(exchange: Exchange): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const req = startRequest(exchange);
    req.on('error', (error) => reject(unreachable(error, exchange.socketPath)));
    req.on('response', (res) => {
      const status = res.statusCode ?? 0;
      if (status >= 200 && status < 300) return resolve(res);
      readText(res).then((text) => reject(refusal(status, text)), reject);
    });
  });
}

export async function readText(res: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of res as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limits.operatorResponse.value) {
      res.destroy();
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'operatorResponse',
        detail: `an answer is larger than ${limits.operatorResponse.value} bytes`,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

export async function exchangeJson(exchange: Exchange): Promise<unknown> {
  const text = await readText(await open(exchange));
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new GloveboxError(
      'GB_UPSTREAM_FAILED',
      { what: 'The control plane', detail: 'its answer is not JSON' },
      { cause: error },
    );
  }
}
