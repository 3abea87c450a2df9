import { limits, type SpiffeId } from '../../pure/contracts/index.ts';
import type { BusClient, BusDecision } from './authorizer.ts';

/** One that was let in. */
export type Entry = Extract<BusDecision, { allowed: true }>;

/** Which connection was let in for whom, oldest first. An entry outlives its certificate, hence its connection, by nothing of use. */
export class Admitted {
  readonly #entries = new Map<string, Entry>();

  /**
   * Returns what the same identity has too many: its oldest connections. One with a stolen or hostile key would otherwise take
   * all that the server has, and nobody else got in.
   */
  add(entry: Entry): readonly BusClient[] {
    const key = keyOf(entry.client);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > limits.busConnections.value) this.#forget(entry.certificate.notBefore);
    const own = [...this.#entries.values()].filter(
      ({ certificate }) =>
        certificate.identity.id === entry.certificate.identity.id &&
        certificate.notAfter > entry.certificate.notBefore,
    );
    const tooMany = own.slice(0, Math.max(0, own.length - limits.busConnectionsOfOne.value));
    for (const { client } of tooMany) this.#entries.delete(keyOf(client));
    return tooMany.map(({ client }) => client);
  }

  all(): readonly Entry[] {
    return [...this.#entries.values()];
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

const keyOf = (client: BusClient): string => `${client.server}:${client.connection}`;
