import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { limits } from '../../pure/contracts/index.ts';

/**
 * Ends a session whose client opens requests to reset them at once (CVE-2023-44487). A request that was reset does not count as
 * open for the library, so its bound on requests at the same time bounds nothing here, and each may have begun a connection to an
 * upstream. The library's own bound, a thousand in a burst, would let that many through.
 */
export function endResetFloods(session: ServerHttp2Session, now: () => number): void {
  let open = 0;
  const resets: number[] = [];
  session.on('stream', (stream: ServerHttp2Stream) => {
    open += 1;
    // More than the library lets be open: the rest were reset before their end was heard of here.
    if (open > 2 * limits.egressStreams.value) session.destroy();
    stream.once('close', () => {
      open -= 1;
      if (!stream.aborted) return;
      const at = now();
      while (resets[0] !== undefined && at - resets[0] >= 60_000) resets.shift();
      resets.push(at);
      if (resets.length > limits.egressResets.value) session.destroy();
    });
  });
}
