import type { IncomingMessage, Server } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GloveboxError, operatorRoutes, type OperatorCaller } from '../../../pure/contracts/index.ts';
import { catalogued } from '../../workload-http/index.ts';
import type { SessionService } from '../sessions/session-service.ts';

const path = /^\/v1\/sessions\/([^/?#]{1,64})\/attach(?:\?([^#]*))?$/;
export const attachProtocol = 'glovebox-attach';

/**
 * The one upgrade that this server knows. After the 101 the connection is the sidecar's: the client is silent until it hears
 * from there, so whatever came along with the request's head is not from our client, and is refused.
 */
export function serveAttach(
  server: Server,
  sessions: SessionService,
  caller: OperatorCaller,
  count: () => void,
  onError: (error: unknown) => void,
): void {
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    upgrade(request, socket, head, sessions, caller, count).catch((error: unknown) => {
      const known = catalogued(error);
      if (known.code === 'GB_INTERNAL') onError(error);
      refuse(socket, known);
    });
  });
}

async function upgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  sessions: SessionService,
  caller: OperatorCaller,
  count: () => void,
): Promise<void> {
  count();
  if (request.headers.authorization !== undefined) {
    // What is typed is a person's: no token attaches (R36).
    throw new GloveboxError('GB_CALLER_REFUSED', {
      operation: 'attachSession by an API token',
      allowed: 'a person’s login',
    });
  }
  const match = path.exec(request.url ?? '');
  if (match === null || request.method !== 'GET') {
    throw new GloveboxError('GB_NOT_FOUND', {
      what: 'such upgrade',
      detail: 'only a session can be attached to',
    });
  }
  if (request.headers.upgrade !== attachProtocol || head.length > 0 || !(socket instanceof Socket)) {
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: 'The upgrade',
      detail: `it is not ${attachProtocol}`,
    });
  }
  const query = operatorRoutes.attachSession.query.safeParse(
    Object.fromEntries(new URLSearchParams(match[2] ?? '')),
  );
  if (!query.success) {
    throw new GloveboxError('GB_INPUT_INVALID', { what: 'The upgrade', detail: 'its query is not valid' });
  }
  const session = await sessions.find(decodeURIComponent(match[1] ?? ''));
  await sessions.requireAttachable(session);
  socket.pause();
  await new Promise<void>((resolve, reject) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${attachProtocol}\r\n\r\n`,
      (error) => {
        if (error) reject(error);
        else resolve();
      },
    );
  });
  try {
    await sessions.attach(session, socket, {
      user: caller.user,
      input: true,
      foreground: query.data.foreground === 'true',
      process: query.data.process,
    });
  } catch (error) {
    // The 101 is out: there is nothing more to say in HTTP. The session's record tells the rest.
    socket.destroy();
    throw error;
  }
}

function refuse(socket: Duplex, error: GloveboxError): void {
  if (socket.destroyed) return;
  const body = JSON.stringify(error.toBody());
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
