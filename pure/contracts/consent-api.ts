import { z } from 'zod';
import { consentMode, consentQuestion, grantView } from './consent.ts';
import { defineRoutes } from './route.ts';

const person = { callers: ['operator'], owner: 'none' } as const;
const idParam = z.strictObject({ id: z.string().min(1).max(64) });

/** Questions of agents and what people granted; part of the operator API. */
export const consentRoutes = defineRoutes({
  listConsents: {
    method: 'GET',
    path: '/v1/consents',
    ...person,
    query: z.strictObject({ all: z.enum(['true', 'false']).optional() }),
    response: z.array(consentQuestion),
  },
  approveConsent: {
    method: 'POST',
    path: '/v1/consents/:id/approve',
    ...person,
    params: idParam,
    body: z.strictObject({ digest: z.string(), mode: consentMode }),
    response: consentQuestion,
  },
  denyConsent: {
    method: 'POST',
    path: '/v1/consents/:id/deny',
    ...person,
    params: idParam,
    body: z.strictObject({ digest: z.string() }),
    response: consentQuestion,
  },
  listGrants: {
    method: 'GET',
    path: '/v1/grants',
    ...person,
    query: z.strictObject({ session: z.string().optional(), all: z.enum(['true', 'false']).optional() }),
    response: z.array(grantView),
  },
  /** What a grant allows, who gave it, on which question, and what was done by it. */
  explainGrant: {
    method: 'GET',
    path: '/v1/grants/:id',
    ...person,
    params: idParam,
    response: z.object({
      grant: grantView,
      question: consentQuestion.nullable(),
      covers: z.string(),
      uses: z.array(z.record(z.string(), z.unknown())),
    }),
  },
  /** No use from then on; a call that is under way by it is cut off. */
  revokeGrant: {
    method: 'POST',
    path: '/v1/grants/:id/revoke',
    ...person,
    params: idParam,
    response: grantView,
  },
});
