import { asGloveboxError, limits } from '../../../pure/contracts/index.ts';
import type { Runtime } from '../runtime.ts';
import type { ProviderPort } from './operations.ts';

const pause = 100;

/**
 * A provider starts beside everything else, and starts again when it died: a call that nobody was there to take waits a
 * little for it. Only what surely reached nobody is sent again; an outcome that is unknown is never repeated (R42).
 */
export function waitingProvider(
  provider: ProviderPort,
  runtime: Pick<Runtime, 'now' | 'delay'>,
): ProviderPort {
  return {
    undelivered: (error) => provider.undelivered(error),
    request: async (domain, operation, payload) => {
      const deadline = runtime.now() + limits.providerPresence.value;
      for (;;) {
        try {
          return await provider.request(domain, operation, payload);
        } catch (error) {
          if (!nobodyThere(provider, error) || runtime.now() >= deadline) throw error;
          await runtime.delay(pause);
        }
      }
    },
  };
}

/** A refusal of the bus reached nobody either, and would be one the next time too. */
const nobodyThere = (provider: ProviderPort, error: unknown): boolean =>
  provider.undelivered(error) && asGloveboxError(error).code === 'GB_UPSTREAM_FAILED';
