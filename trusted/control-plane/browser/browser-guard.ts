import type { IncomingMessage } from 'node:http';
import { browserKeyHeader, GloveboxError } from '../../../pure/contracts/index.ts';
import type { BrowserProof } from './browser-logins.ts';

const refused = (operation: string, allowed: string): GloveboxError =>
  new GloveboxError('GB_CALLER_REFUSED', { operation, allowed });

/**
 * Where a request comes from, before anything else of it is looked at. A page of another site can make a browser send requests
 * here, and by a name of its own that it lets point to this machine (DNS rebinding) it could even read the answers: so the address
 * is one, and whatever names another place is refused.
 */
export function requireOwnPlace(request: IncomingMessage, host: string): void {
  const { headersDistinct: sent, headers } = request;
  const url = request.url ?? '';
  if (sent['host']?.length !== 1 || headers.host !== host || !url.startsWith('/') || url.startsWith('//'))
    throw refused('a request for another host', host);
  const origin = sent['origin'];
  const ownOrigin = `http://${host}`;
  if (origin !== undefined && (origin.length !== 1 || origin[0] !== ownOrigin))
    throw refused('a request from another page', ownOrigin);
  const reads = request.method === 'GET' || request.method === 'HEAD';
  if (origin === undefined && !reads) throw refused('a change without the page it comes from', ownOrigin);
  const site = headers['sec-fetch-site'];
  // `none`: the person typed the address, or opened it from elsewhere on the desktop.
  if (site !== undefined && site !== 'same-origin' && !(site === 'none' && reads))
    throw refused('a request from another site', ownOrigin);
}

/** The cookie and the key, where both are there and well formed. Cookies that others set beside ours count for nothing. */
export function proofOf(request: IncomingMessage, cookieName: string): BrowserProof | undefined {
  const key = request.headers[browserKeyHeader];
  const cookie = new RegExp(`(?:^|; ?)${cookieName}=([\\w-]{43})(?:;|$)`).exec(
    request.headers.cookie ?? '',
  )?.[1];
  return cookie === undefined || typeof key !== 'string' ? undefined : { cookie, key };
}
