import { z } from 'zod';

/** A certificate of the CA, by what a person compares. */
const caCertificate = z.object({
  /** SHA-256 of the certificate, in hex. */
  fingerprint: z.string(),
  notBefore: z.string(),
  notAfter: z.string(),
});

/** Whom everything of this trust domain trusts. */
export const authorityView = z.object({
  trustDomain: z.string(),
  issuing: caCertificate,
  roots: z.array(
    caCertificate.extend({
      /** `next` is trusted and does not sign yet, `previous` is trusted still and signs no more. */
      role: z.enum(['current', 'next', 'previous']),
    }),
  ),
  /** Null: the root is not being replaced. */
  rotation: z.object({ next: z.enum(['activate', 'retire']), at: z.string() }).nullable(),
});
export type AuthorityView = z.infer<typeof authorityView>;

const person = { callers: ['operator'], owner: 'none' } as const;

/** Part of the operator API. */
export const authorityRoutes = {
  /** The CA that everything of this trust domain is known by. */
  getAuthority: { method: 'GET', path: '/v1/ca', ...person, response: authorityView },
  /** `issuing` at once; `root` begins what then goes on by itself. Sessions go on. */
  rotateAuthority: {
    method: 'POST',
    path: '/v1/ca/rotate',
    ...person,
    body: z.strictObject({ what: z.enum(['issuing', 'root']) }),
    response: authorityView,
  },
  /** Ends every certificate of an identity, and within a second whatever is open under one (R4). */
  revokeIdentity: {
    method: 'POST',
    path: '/v1/ca/revoke',
    ...person,
    body: z.strictObject({ identity: z.string().min(1).max(2048) }),
    /** `certificates`: how many of it were not over yet. */
    response: z.object({ identity: z.string(), certificates: z.int() }),
  },
} as const;
