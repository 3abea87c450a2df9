import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineRoutes } from './route.ts';

const parts = { method: 'GET', path: '/v1/x', response: z.null() } as const;

/** The compiler is the guard: each error that is expected here and does not come fails the build (`npm run types`). */
test('[R3] an operation that does not say who may call it, and whose its object is, does not compile', () => {
  expect(defineRoutes({ good: { ...parts, callers: ['sidecar'], owner: 'caller-session' } })).toBeDefined();
  // @ts-expect-error refused by the compiler: no callers
  defineRoutes({ bad: { ...parts, owner: 'none' } });
  // @ts-expect-error refused by the compiler: no owner
  defineRoutes({ bad: { ...parts, callers: ['sidecar'] } });
  // @ts-expect-error refused by the compiler: an empty list of callers
  defineRoutes({ bad: { ...parts, callers: [], owner: 'none' } });
  // @ts-expect-error refused by the compiler: a caller that there is not
  defineRoutes({ bad: { ...parts, callers: ['everybody'], owner: 'none' } });
  // @ts-expect-error refused by the compiler: a rule that there is not
  defineRoutes({ bad: { ...parts, callers: ['sidecar'], owner: 'anyone' } });
});
