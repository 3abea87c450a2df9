import { limits, type SpiffeId } from '../../pure/contracts/index.ts';
import type { BusClient, BusDecision } from './authorizer.ts';

type Entry = Extract<BusDecision, { allowed: true }>;

/** Which connection was let in for whom. An entry outlives its certificate, hence its connection, by nothing of use. */
export class Admitted {
  readonly #entries = new Map<string, Entry>();

  add(entry: Entry): void {
    const key = `${entry.client.server}:${entry.client.connection}`;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > limits.busConnections.value) this.#forget(entry.certificate.notBefore);
  }

  of(identity: SpiffeId): readonly BusClient[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.certificate.identity.id === identity)
      .map((entry) => entry.client);
  }

  /** What ended before the newest certificate began. */
  #forget(before: Date): void {
    for (const [key, entry] of this.#entries) {
      if (entry.certificate.notAfter < before) this.#entries.delete(key);
    }
  }
}
