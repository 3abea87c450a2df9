import { identityOf } from '../../../pure/contracts/index.ts';
import type { IdentityStore, RevokedListener } from '../../identity/index.ts';
import type { ControlChannel } from './control-channel.ts';

/** A sandbox whose link is a network connection has it at its session's sidecar, which hears of a revocation from here (R4). */
export function revokedAtGateways(
  store: Pick<IdentityStore, 'findSerial'>,
  control: Pick<ControlChannel, 'say'>,
  note: (message: string, error: unknown) => void,
): RevokedListener {
  const tell = async (serial: string): Promise<void> => {
    const known = await store.findSerial(serial);
    const identity = known === undefined ? undefined : identityOf(known.spiffeId);
    if (identity?.kind === 'sandbox')
      await control.say(identity.session, { type: 'identity-revoked', serials: [serial] });
  };
  return (serials) => {
    for (const serial of serials)
      tell(serial).catch((error: unknown) => note('a revocation did not reach a gateway', error));
  };
}
