import { identityOf, type SessionId } from '../../../pure/contracts/index.ts';
import type { IdentityStore, RevokedListener } from '../../identity/index.ts';
import type { ControlChannel } from './control-channel.ts';

/**
 * What of a revocation happens at gateways (R4). A sandbox whose link is a network connection has it at its session's sidecar, which
 * hears of it from here. A sidecar ends itself, by the hand of its parent: the link that it inherited is no TLS connection of
 * anybody's registry, and it would go on serving its agent until its certificate ends.
 */
export function revokedAtGateways(
  store: Pick<IdentityStore, 'findSerial'>,
  control: Pick<ControlChannel, 'say'>,
  endGateway: (session: SessionId) => void,
  note: (message: string, error: unknown) => void,
): RevokedListener {
  const tell = async (serial: string): Promise<void> => {
    const known = await store.findSerial(serial);
    const identity = known === undefined ? undefined : identityOf(known.spiffeId);
    if (identity?.kind === 'sidecar') endGateway(identity.session);
    if (identity?.kind === 'sandbox')
      await control.say(identity.session, { type: 'identity-revoked', serials: [serial] });
  };
  return (serials) => {
    for (const serial of serials)
      tell(serial).catch((error: unknown) => note('a revocation did not reach a gateway', error));
  };
}
