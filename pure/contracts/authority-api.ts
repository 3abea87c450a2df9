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

export const rotateAuthorityRequest = z.strictObject({ what: z.enum(['issuing', 'root']) });
export const revokeIdentityRequest = z.strictObject({ identity: z.string().min(1).max(2048) });
/** `certificates`: how many of it were not over yet. */
export const revokedView = z.object({ identity: z.string(), certificates: z.int() });
