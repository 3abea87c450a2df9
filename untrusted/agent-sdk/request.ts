import { request as httpRequest } from 'node:http';

/** The sidecar said no: its stable code, its words, and the scope to ask for where consent would help. */
export class GloveboxRefusal extends Error {
  readonly code: string;
  readonly scope: string | null;
  constructor(code: string, message: string, scope: string | null) {
    super(message);
    this.name = 'GloveboxRefusal';
    this.code = code;
    this.scope = scope;
  }
}

interface Refused {
  readonly error: {
    readonly code: string;
    readonly what: string;
    readonly why: string;
    readonly scope?: string;
  };
}

/** Where the sidecar is, and the turn that calls name. */
export interface Sidecar {
  readonly base: string;
  readonly turn: string | null;
}

/** node:http and not fetch: newer fetches obey proxy variables, and the API is never behind the proxy. No time limit: a person may take minutes. */
export function request<T>(
  { base, turn }: Sidecar,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const outgoing = httpRequest(
      new URL(path, base),
      {
        method,
        headers: {
          ...(turn === null ? {} : { 'glovebox-turn': turn }),
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          try {
            const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
            if ((response.statusCode ?? 500) < 400) resolve(value as T);
            else reject(refusal(value as Refused));
          } catch (error) {
            reject(error instanceof Error ? error : new Error('the sidecar did not answer with JSON'));
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}

const refusal = ({ error }: Refused): GloveboxRefusal =>
  new GloveboxRefusal(error.code, `${error.what} ${error.why}`, error.scope ?? null);
