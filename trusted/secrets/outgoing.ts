import { request } from 'node:https';
import { rootCertificates } from 'node:tls';
import { limits } from '../../pure/contracts/index.ts';
import { normaliseHost } from '../../pure/egress/index.ts';
import { checkedLookup, type Resolve } from '../outbound/index.ts';

/** How one secret's own place is reached: its address, and what beside public authorities and addresses it names. */
export interface Reach {
  readonly ca?: string | undefined;
  readonly privateRanges: readonly string[];
}

export interface OutgoingCall {
  readonly url: string;
  readonly method: 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface OutgoingAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** One call to the place that a secret itself names. */
export type CallOut = (call: OutgoingCall, reach: Reach) => Promise<OutgoingAnswer>;

/** Why a call was not made or its answer not read; without anything that was sent or received. */
export class OutgoingFailed extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'OutgoingFailed';
  }
}

/**
 * TLS 1.2 or later to a name, verified; an address that was resolved once and checked (R18); no redirect is followed, so what was
 * sealed with a secret is the only host that ever sees it; a bounded answer in a bounded time; no connection is kept.
 */
export function callOut(resolve: Resolve): CallOut {
  return (call, reach) =>
    new Promise((done, reject) => {
      const url = new URL(call.url);
      const host = normaliseHost(url.hostname);
      if (url.protocol !== 'https:' || url.username !== '' || url.password !== '' || !host.ok)
        return reject(new OutgoingFailed('its address is not https and a name'));
      const fail = (error: Error): void => {
        const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
        reject(
          new OutgoingFailed(error.name === 'Error' || code !== '' ? code || 'it broke off' : error.message),
        );
      };
      const outgoing = request(url, {
        method: call.method,
        headers: { ...call.headers, 'content-length': String(Buffer.byteLength(call.body)) },
        agent: false,
        servername: host.value,
        minVersion: 'TLSv1.2',
        lookup: checkedLookup(resolve, reach.privateRanges),
        signal: AbortSignal.timeout(limits.credentialCall.value),
        ...(reach.ca === undefined ? {} : { ca: [...rootCertificates, reach.ca] }),
      });
      outgoing.once('error', fail);
      outgoing.once('response', (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > limits.credentialAnswer.value)
            outgoing.destroy(new OutgoingFailed('its answer is too large'));
          else chunks.push(chunk);
        });
        answer.once('error', fail);
        answer.once('end', () => {
          done({
            status: answer.statusCode ?? 0,
            contentType: answer.headers['content-type'] ?? '',
            body: Buffer.concat(chunks).toString('utf8'),
          });
        });
      });
      outgoing.end(call.body);
    });
}
