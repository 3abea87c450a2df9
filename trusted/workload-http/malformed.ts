import type { Server } from 'node:http';
import { limits } from '../../pure/contracts/index.ts';

/** What the parser of a server does not take is answered once, and its connection closed: it gets no second reading. */
export function refuseMalformed(server: Server): void {
  server.on('clientError', (error, socket) => {
    if (!socket.writable) return void socket.destroy();
    socket.end(`HTTP/1.1 ${statusOf(error)}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    // An agent may keep its half open for as long as it likes.
    setTimeout(() => socket.destroy(), limits.refusedLinger.value).unref();
  });
}

const statusOf = (error: Error): string =>
  'code' in error && error.code === 'HPE_HEADER_OVERFLOW'
    ? '431 Request Header Fields Too Large'
    : 'code' in error && error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : '400 Bad Request';
