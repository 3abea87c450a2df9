import { GloveboxError } from '../../../pure/contracts/index.ts';
import type { ProviderPort } from './operations.ts';

/**
 * Calls that a provider works on. The bus does not say that the one who took a message is gone, and its time limit is long; the
 * control plane, whose child the provider is, says so (by a signed word), and what was under way ends as unknown (R42).
 */
export class ProviderCalls implements ProviderPort {
  readonly #bus: ProviderPort;
  readonly #underWay = new Map<string, Set<(error: GloveboxError) => void>>();

  constructor(bus: ProviderPort) {
    this.#bus = bus;
  }

  undelivered(error: unknown): boolean {
    return this.#bus.undelivered(error);
  }

  async request(domain: string, operation: string, payload: Uint8Array): Promise<Uint8Array> {
    const calls = this.#underWay.get(domain) ?? new Set();
    this.#underWay.set(domain, calls);
    let end: (error: GloveboxError) => void = () => undefined;
    const gone = new Promise<never>((_, reject) => (end = reject));
    calls.add(end);
    try {
      return await Promise.race([this.#bus.request(domain, operation, payload), gone]);
    } finally {
      calls.delete(end);
    }
  }

  gone(domain: string): void {
    for (const end of this.#underWay.get(domain) ?? [])
      end(new GloveboxError('GB_PROVIDER_GONE', { domain }));
  }
}
