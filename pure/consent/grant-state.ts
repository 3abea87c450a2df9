import type { GrantView } from '../contracts/index.ts';

/** Why a grant serves, or no longer does. Times are ISO 8601 in UTC, which sort as text. */
export function grantState(
  grant: Pick<GrantView, 'revokedAt' | 'usedAt' | 'expiresAt'>,
  now: string,
): GrantView['state'] {
  if (grant.revokedAt !== null) return 'revoked';
  if (grant.usedAt !== null) return 'used';
  return grant.expiresAt !== null && grant.expiresAt <= now ? 'expired' : 'open';
}
