import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Pairs } from './headers.ts';

/** A reply that may hold the credential is asked for as it is, so that it can be read on its way. */
export const uncoded = (pairs: Pairs): Pairs => [
  ...pairs.filter(([name]) => name !== 'accept-encoding'),
  ['accept-encoding', 'identity'],
];

/** What makes a coded reply readable; null: it is not coded. Undefined: nobody here knows. */
export function decoderOf(headers: Pairs): Transform | null | undefined {
  const codings = headers
    .filter(([name]) => name === 'content-encoding')
    .map(([, value]) => value.trim().toLowerCase());
  const [coding = 'identity'] = codings;
  if (codings.length > 1) return undefined;
  if (coding === 'identity' || coding === '') return null;
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip();
  if (coding === 'deflate') return createInflate();
  return coding === 'br' ? createBrotliDecompress() : undefined;
}

export const decodedHeaders = (headers: Pairs): Pairs =>
  headers.filter(([name]) => name !== 'content-encoding' && name !== 'content-length');
