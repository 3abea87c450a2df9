import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { payloadOf, signedHeaders, withSignature, type Injection } from '../../pure/egress/index.ts';
import type { Pairs } from './headers.ts';
import type { EgressOptions } from './port.ts';

export interface Unsigned {
  readonly method: string;
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly target: string;
  readonly headers: Pairs;
  readonly body: Readable;
  readonly hasBody: boolean;
}

export interface Signed {
  readonly target: string;
  readonly headers: Pairs;
  readonly body: Readable;
  /** The signature itself: a reply must not show it. */
  readonly signature: string;
}

/**
 * The request with a signature that the secret broker made over it: the key is not here. `stopped` rejects where the body cannot
 * be read to its end; a body is read first only where the service wants its hash.
 */
export async function signed(
  sign: EgressOptions['signRequest'],
  { secret, signature }: Injection,
  intentSequence: number,
  request: Unsigned,
  stopped: Promise<never>,
): Promise<Signed> {
  if (signature === null) throw new GloveboxError('GB_INTERNAL', { detail: 'no signature is wanted' });
  const { method, host, port, target, hasBody } = request;
  const payload = payloadOf(signature.service, request.headers);
  const whole = payload.kind === 'hash' && hasBody ? await Promise.race([read(request.body), stopped]) : null;
  const answer = await sign(secret, intentSequence, {
    ...signature,
    method,
    host,
    port,
    target,
    headers: signedHeaders(request.headers),
    payload:
      payload.kind === 'said'
        ? payload.payload
        : createHash('sha256')
            .update(whole ?? '')
            .digest('hex'),
  });
  const plain = withSignature(request.headers, answer.headers);
  return {
    target: answer.target,
    // Its length is known by now, and some services take no chunks.
    headers:
      whole === null
        ? plain
        : [...plain.filter(([name]) => name !== 'content-length'), ['content-length', String(whole.length)]],
    body: whole === null ? request.body : Readable.from([whole], { objectMode: false }),
    signature: /Signature=([0-9a-f]{64})/.exec(answer.headers['authorization'] ?? '')?.[1] ?? '',
  };
}

async function read(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limits.egressSignedBody.value)
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'egressSignedBody',
        detail: `a body that is hashed for its signature has at most ${String(limits.egressSignedBody.value)} bytes`,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
