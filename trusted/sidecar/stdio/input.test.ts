import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Input } from './input.ts';

/** As an HTTP/2 stream whose client sent nothing: its end is told at once, and it closes. */
function emptyStream(): PassThrough {
  const stream = new PassThrough({ autoDestroy: true });
  stream.end();
  setImmediate(() => stream.read(0));
  return stream;
}

const target = (): { stream: PassThrough; text: () => string } => {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { stream, text: () => text };
};

describe('the command’s input', () => {
  it('is over when an attached client had nothing to send, also before the command was there', async () => {
    const input = new Input('pipe');
    const source = emptyStream();
    input.from(source);
    await once(source, 'close');
    const { stream, text } = target();
    input.into(stream);
    await once(stream, 'end');
    expect(text()).toBe('');
  });

  it('is what the first client sends, up to its end, and nothing of the second', async () => {
    const input = new Input('pipe');
    const [first, second] = [new PassThrough(), emptyStream()];
    input.from(first);
    input.from(second);
    const { stream, text } = target();
    input.into(stream);
    await once(second, 'end');
    first.end('typed');
    await once(stream, 'end');
    expect(text()).toBe('typed');
  });

  it('goes on with the next client where the first left without an end', async () => {
    const input = new Input('pipe');
    const [first, second] = [new PassThrough(), new PassThrough()];
    input.from(first);
    input.from(second);
    const { stream, text } = target();
    input.into(stream);
    first.destroy();
    second.end('typed');
    await once(stream, 'end');
    expect(text()).toBe('typed');
  });
});
