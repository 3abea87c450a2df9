import {
  GloveboxError,
  parseIdentity,
  type SpiffeId,
  type TrustDomain,
  type UserId,
} from '../../../pure/contracts/index.ts';
import type { CaRotation } from '../ca-rotation.ts';
import type { OperatorHandlers } from './handlers.ts';

export interface AuthorityParts {
  readonly ca: Pick<CaRotation, 'trustDomain' | 'view' | 'rotateIssuing' | 'beginRoot'>;
  /** Ends an identity everywhere; how many certificates of it that were. */
  readonly revoke: (identity: SpiffeId) => Promise<number>;
  readonly recorded: (operation: string, user: UserId, detail: string, session: null) => Promise<unknown>;
}

type AuthorityHandlers = Pick<OperatorHandlers, 'getAuthority' | 'rotateAuthority' | 'revokeIdentity'>;

/** What a person does with the CA, and with who is known by it. */
export function authorityHandlers({ ca, revoke, recorded }: AuthorityParts): AuthorityHandlers {
  return {
    getAuthority: async () => await ca.view(),
    rotateAuthority: async ({ caller, body }) =>
      body.what === 'issuing' ? await ca.rotateIssuing(caller.user) : await ca.beginRoot(caller.user),
    revokeIdentity: async ({ caller, body }) => {
      const identity = revocable(body.identity, ca.trustDomain);
      await recorded('identity.revoke', caller.user, identity, null);
      return { identity, certificates: await revoke(identity) };
    },
  };
}

/** Those that are issued within the control plane would be issued again at once: what ends them is its own end. */
function revocable(text: string, trustDomain: TrustDomain): SpiffeId {
  const parsed = parseIdentity(text);
  const refuse = (detail: string): GloveboxError =>
    new GloveboxError('GB_INPUT_INVALID', { what: 'The identity to revoke', detail });
  if (!parsed.ok) throw refuse(parsed.reason);
  const { kind, id } = parsed.value;
  if (parsed.value.trustDomain !== trustDomain) throw refuse(`this is the CA of ${trustDomain}`);
  if (kind === 'sidecar' || kind === 'sandbox' || kind === 'provider' || kind === 'secret-broker') return id;
  throw refuse(
    `${kind} is a part of the control plane itself: glovebox down ends it, glovebox ca rotate --root its CA`,
  );
}
