import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../../pure/contracts/index.ts';

/**
 * Does `work` again after a failure, ever more slowly, while `worthwhile`. For what a server that reads its configuration anew refuses
 * for a moment: the alternative is a connection that ends with its certificate.
 */
export async function persist(work: () => Promise<void>, worthwhile: () => boolean): Promise<void> {
  const { value: attempts } = limits.busRenewals;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await work();
      return;
    } catch (error) {
      if (attempt >= attempts || !worthwhile()) throw error;
      await pause(Math.min(200 * 2 ** attempt, 5_000));
      if (!worthwhile()) throw error;
    }
  }
}
