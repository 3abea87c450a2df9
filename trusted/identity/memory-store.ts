import type { SpiffeId } from '../../pure/contracts/index.ts';
import type { IdentityStore, IssuedSerial, JoinBinding, JoinUse, Lineage, RenewalOutcome } from './port.ts';

interface Row extends IssuedSerial {
  readonly lineage: string;
  renewedAt: number | undefined;
}

/** For tests: forgets everything with its process, so it cannot keep R6. Atomic because each method runs in one turn. */
export class MemoryIdentityStore implements IdentityStore {
  readonly #tokens = new Map<string, { readonly binding: JoinBinding; used: boolean }>();
  readonly #serials = new Map<string, Row>();
  readonly #revoked = new Set<string>();

  async insertHash(hash: string, binding: JoinBinding): Promise<void> {
    if (this.#tokens.has(hash)) throw new Error('this hash is stored already');
    this.#tokens.set(hash, { binding, used: false });
  }

  async consumeHash(hash: string): Promise<JoinUse> {
    const token = this.#tokens.get(hash);
    if (token === undefined) return { state: 'unknown' };
    if (token.used) return { state: 'used' };
    token.used = true;
    return { state: 'fresh', binding: token.binding };
  }

  async beginLineage(lineage: string, first: IssuedSerial): Promise<boolean> {
    if (this.#revoked.has(lineage)) return false;
    this.#serials.set(first.serial, { ...first, lineage, renewedAt: undefined });
    return true;
  }

  async findSerial(serial: string): Promise<Lineage | undefined> {
    const row = this.#serials.get(serial);
    if (row === undefined) return undefined;
    const { lineage, spiffeId, channel, notAfter, renewedAt } = row;
    const revoked = this.#revoked.has(lineage);
    return { lineage, spiffeId, channel, notAfter, renewed: renewedAt !== undefined, revoked };
  }

  async renewSerial(serial: string, next: IssuedSerial, nowMs: number): Promise<RenewalOutcome> {
    const row = this.#serials.get(serial);
    if (row === undefined) return { state: 'unknown' };
    if (row.renewedAt !== undefined || this.#revoked.has(row.lineage)) {
      return { state: 'revoked', serials: this.#revoke(row.lineage, nowMs) };
    }
    row.renewedAt = nowMs;
    this.#serials.set(next.serial, { ...next, lineage: row.lineage, renewedAt: undefined });
    return { state: 'renewed' };
  }

  async revokeLineage(lineage: string, nowMs: number): Promise<readonly string[]> {
    return this.#revoke(lineage, nowMs);
  }

  async revokeIdentity(spiffeId: SpiffeId, nowMs: number): Promise<readonly string[]> {
    const lineages = new Set<string>();
    for (const row of this.#serials.values()) if (row.spiffeId === spiffeId) lineages.add(row.lineage);
    for (const [hash, token] of this.#tokens) {
      if (token.binding.spiffeId !== spiffeId) continue;
      token.used = true;
      lineages.add(hash);
    }
    return [...lineages].flatMap((lineage) => this.#revoke(lineage, nowMs));
  }

  async revokedSerials(nowMs: number): Promise<readonly string[]> {
    return [...this.#revoked].flatMap((lineage) => this.#alive(lineage, nowMs));
  }

  async forget(beforeMs: number): Promise<void> {
    for (const [hash, { binding }] of this.#tokens)
      if (binding.expiresAt < beforeMs) this.#tokens.delete(hash);
    for (const [serial, row] of this.#serials) if (row.notAfter < beforeMs) this.#serials.delete(serial);
    const left = new Set([...this.#tokens.keys(), ...[...this.#serials.values()].map((row) => row.lineage)]);
    for (const lineage of this.#revoked) if (!left.has(lineage)) this.#revoked.delete(lineage);
  }

  #revoke(lineage: string, nowMs: number): string[] {
    this.#revoked.add(lineage);
    return this.#alive(lineage, nowMs);
  }

  #alive(lineage: string, nowMs: number): string[] {
    return [...this.#serials.values()]
      .filter((row) => row.lineage === lineage && row.notAfter > nowMs)
      .map((row) => row.serial);
  }
}
