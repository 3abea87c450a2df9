import { createAccount, createCurve, createUser } from '@nats-io/jwt';
import { Secret } from '../../pure/contracts/index.ts';

/**
 * The keys of one start of the bus; nothing of them is kept on disk. `authorizer` belongs to whoever decides (it signs user
 * JWTs that this bus alone believes), `callout` and `system` are the NATS users by which the control plane's process serves
 * the callout and ends connections. A certificate maps to one NATS user only, and the control plane's own must map to its
 * user in account GB through the callout as everybody's does: hence keys, beside its certificate, for these two.
 */
export interface BusKeys {
  readonly authorizer: {
    readonly issuer: string;
    readonly issuerSeed: Secret;
    readonly xkey: string;
    readonly xkeySeed: Secret;
  };
  readonly callout: { readonly user: string; readonly seed: Secret };
  readonly system: { readonly user: string; readonly seed: Secret };
}

/** The public half: all that nats-server learns. */
export interface BusPublicKeys {
  readonly issuer: string;
  readonly xkey: string;
  readonly callout: string;
  readonly system: string;
}

const seedOf = (pair: { getSeed(): Uint8Array }): Secret =>
  new Secret(new TextDecoder().decode(pair.getSeed()));

export function createBusKeys(): BusKeys {
  const issuer = createAccount();
  const xkey = createCurve();
  const callout = createUser();
  const system = createUser();
  return {
    authorizer: {
      issuer: issuer.getPublicKey(),
      issuerSeed: seedOf(issuer),
      xkey: xkey.getPublicKey(),
      xkeySeed: seedOf(xkey),
    },
    callout: { user: callout.getPublicKey(), seed: seedOf(callout) },
    system: { user: system.getPublicKey(), seed: seedOf(system) },
  };
}

export const publicKeys = (keys: BusKeys): BusPublicKeys => ({
  issuer: keys.authorizer.issuer,
  xkey: keys.authorizer.xkey,
  callout: keys.callout.user,
  system: keys.system.user,
});
