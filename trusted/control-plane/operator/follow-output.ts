import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

const look = 100;
const chunkSize = 65_536;

/** A file that grows, as it grows, and to its end once `over` says that nobody writes to it any more. */
export function followOutput(path: string, over: Promise<unknown>): Readable {
  return Readable.from(grown(path, over), { objectMode: false });
}

async function* grown(path: string, over: Promise<unknown>): AsyncGenerator<Buffer> {
  const state = { ended: false };
  const end = over.then(() => {
    state.ended = true;
  });
  const file = await open(path, 'r');
  try {
    for (let at = 0; ;) {
      // Asked before reading: what was written until then is read below.
      const last = state.ended;
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkSize), 0, chunkSize, at);
      at += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (last) return;
      else await Promise.race([end, delay(look, undefined, { ref: false })]);
    }
  } finally {
    await file.close();
  }
}
