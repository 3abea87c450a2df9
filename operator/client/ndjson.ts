import { StringDecoder } from 'node:string_decoder';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';

/** Newline-delimited JSON, one value a line, each line bounded. The types are the contract's: both ends are Glovebox's own. */
export async function* readNdjson<T>(
  chunks: AsyncIterable<Uint8Array>,
  maxLine: number = limits.operatorLine.value,
): AsyncGenerator<T> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(Buffer.from(chunk))).split('\n');
    rest = lines.pop() ?? '';
    for (const line of [...lines, rest]) if (line.length > maxLine) throw tooLong(maxLine);
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
  }
  rest += decoder.end();
  if (rest.trim() !== '') yield JSON.parse(rest) as T;
}

const tooLong = (maxLine: number): GloveboxError =>
  new GloveboxError('GB_LIMIT_REACHED', {
    limit: 'operatorLine',
    detail: `a line is longer than ${maxLine} characters`,
  });
