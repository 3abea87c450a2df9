import { z } from 'zod';
import { defineRoutes } from './route.ts';

/**
 * What the loopback door for a browser serves beside the operator API. A login is a cookie that no script can read, and a key that
 * no other site's page can send; a request needs both.
 */
export const browserRoutes = defineRoutes({
  login: {
    method: 'POST',
    path: '/login',
    callers: ['anonymous'],
    owner: 'none',
    body: z.strictObject({ token: z.string().max(64) }),
    response: z.object({ user: z.string(), key: z.string(), expiresAt: z.string() }),
  },
  logout: {
    method: 'POST',
    path: '/logout',
    callers: ['operator'],
    owner: 'none',
    response: z.object({ ended: z.boolean() }),
  },
});

/** Operations of the socket alone: whoever has a browser's login must not make further ones of it. */
export const notForBrowsers: readonly string[] = ['attachSession', 'openBrowser', 'closeBrowser'];

export const browserKeyHeader = 'x-glovebox-key';
