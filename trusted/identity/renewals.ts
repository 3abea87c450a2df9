import { GloveboxError, type SpiffeId } from '../../pure/contracts/index.ts';
import type { AttestationChannel, IdentityStore, IssuedSerial } from './port.ts';

export type RevokedListener = (serials: readonly string[]) => void;

/** Who asks, by a certificate that was verified. */
export interface Holder {
  readonly id: SpiffeId;
  readonly serial: string;
}

/**
 * A serial renews once, over the channel that its lineage was attested on [R4]. The second try is either a thief's or
 * the victim of one: nobody can tell, so the lineage ends, and a stolen key is worth minutes and never a renewal chain.
 */
export class Renewals {
  readonly #store: IdentityStore;
  readonly #now: () => number;
  readonly #onRevoked: RevokedListener;

  constructor(store: IdentityStore, now: () => number, onRevoked: RevokedListener) {
    this.#store = store;
    this.#now = now;
    this.#onRevoked = onRevoked;
  }

  /**
   * `issue` is called once nothing speaks against it; what it made counts only if this renewal was the first (two that
   * race both issue, one is recorded, and the other ends the lineage).
   */
  async renew<T extends IssuedSerial>(
    holder: Holder,
    channel: AttestationChannel,
    issue: () => Promise<T>,
  ): Promise<T> {
    const { id, serial } = holder;
    const known = await this.#store.findSerial(serial);
    if (known?.spiffeId !== id) throw revoked(id, 'its certificate is not one that can be renewed');
    if (known.channel !== channel) {
      await this.#revoke(known.lineage);
      throw revoked(id, 'it was renewed over another channel than the one that attested it');
    }
    if (known.revoked || known.renewed) {
      await this.#revoke(known.lineage);
      throw revoked(id, known.revoked ? 'its lineage is revoked' : secondTry);
    }
    const next = await issue();
    const outcome = await this.#store.renewSerial(serial, next, this.#now());
    switch (outcome.state) {
      case 'renewed':
        return next;
      case 'revoked':
        this.#onRevoked([...outcome.serials, next.serial]);
        throw revoked(id, secondTry);
      case 'unknown':
        throw revoked(id, 'its certificate is not one that can be renewed');
    }
  }

  async #revoke(lineage: string): Promise<void> {
    this.#onRevoked(await this.#store.revokeLineage(lineage, this.#now()));
  }
}

const secondTry = 'its certificate was renewed a second time, so its whole lineage is revoked';

const revoked = (identity: SpiffeId, detail: string): GloveboxError =>
  new GloveboxError('GB_IDENTITY_REVOKED', { identity, detail });
