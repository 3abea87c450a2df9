import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../../pure/contracts/index.ts';

export interface Patience {
  readonly attempts: number;
  /** Before the second attempt; doubled for each further one, up to `longestMs`. */
  readonly firstMs: number;
  readonly longestMs: number;
}

export const renewalPatience: Patience = {
  attempts: limits.busRenewals.value,
  firstMs: 400,
  longestMs: 5_000,
};

/**
 * Does `work` again after a failure, ever more slowly, while `worthwhile`. For what a server that reads its configuration anew, or
 * chooses a new leader, refuses for a moment: the alternative is a connection that ends with its certificate.
 */
export async function persist<T>(
  work: () => Promise<T>,
  worthwhile: (error: unknown) => boolean,
  { attempts, firstMs, longestMs }: Patience = renewalPatience,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= attempts || !worthwhile(error)) throw error;
      await pause(Math.min(firstMs * 2 ** (attempt - 1), longestMs));
      if (!worthwhile(error)) throw error;
    }
  }
}
