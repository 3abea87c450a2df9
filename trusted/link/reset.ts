import type { ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';

/*
 * Node 20's HTTP/2 answers a reset that is sent while it still works on one that it received with an endless loop that takes
 * all memory (Http2Stream::SubmitRstStream sends from within nghttp2's receiving). The other side of a link resets at will,
 * so ours are sent from a fresh turn of the event loop, and a session is ended by its socket: destroying it would reset
 * each of its streams at once.
 */

export function resetStream(stream: ServerHttp2Stream, code: number): void {
  setImmediate(() => {
    if (!stream.destroyed) stream.close(code);
  });
}

export function endConnection(socket: Duplex): void {
  setImmediate(() => socket.destroy());
}
