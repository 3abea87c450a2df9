import { PassThrough, Readable, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import type { Attachment } from '../../client/index.ts';
import { SessionIo, type LocalEnds } from './session-io.ts';

/** A reader that takes nothing until it is let. */
function slow(): { stream: Writable; got: () => string; let: () => void } {
  const waiting: (() => void)[] = [];
  let text = '';
  let open = false;
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      text += chunk.toString();
      if (open) done();
      else waiting.push(done);
    },
  });
  const release = (): void => {
    open = true;
    for (const done of waiting.splice(0)) done();
  };
  return { stream, got: () => text, let: release };
}

test('[R47] what is written last is waited for, also where it found room at once', async () => {
  const out = slow();
  const attachment: Attachment = {
    events: (async function* () {
      yield await Promise.resolve({ type: 'exited', code: 0, signal: null, reason: 'exited' } as const);
    })(),
    send: () => undefined,
    // A few bytes: the stream says that it has room for more, so it never says that it drained.
    stdio: (name) =>
      (name === 'stdout' ? Readable.from([Buffer.from('a few bytes')]) : Readable.from([])) as never,
    close: () => undefined,
  };
  const ends = { stdin: new PassThrough(), stdout: out.stream, stderr: new PassThrough() };
  const io = new SessionIo(attachment, ends as unknown as LocalEnds, {
    terminal: false,
    forwardInput: false,
  });
  io.start();
  let over = false;
  const ended = io.ended().then(() => (over = true));
  await expect.poll(out.got).toBe('a few bytes');
  expect(over).toBe(false);
  out.let();
  await ended;
  expect(out.stream.writableLength).toBe(0);
});
