import { mb, median, ms, quantile, table } from './figures.ts';
import type { Machine } from './machine.ts';
import { processesOf } from './memory.ts';

const counts = [1, 5, 10, 25, 50];

interface Round {
  readonly count: number;
  readonly starts: readonly number[];
  readonly all: number;
  readonly pss: number;
  readonly rss: number;
}

/** Many sessions asked for at the same moment, by one person: when each runs, and what all of them cost while they do nothing. */
export async function sessionsPart(machine: Machine): Promise<string> {
  await machine.warm();
  const idle = await memory(machine);
  const rounds: Round[] = [];
  for (const count of counts) rounds.push(await round(machine, count));
  return table(
    ['sessions at once', 'first runs', 'median', 'all run', 'PSS of all', 'PSS for each', 'RSS for each'],
    rounds.map(({ count, starts, all, pss, rss }) => [
      String(count),
      ms(quantile(starts, 0)),
      ms(median(starts)),
      ms(all),
      mb(pss),
      mb((pss - idle.pss) / count),
      mb((rss - idle.rss) / count),
    ]),
  );
}

async function round(machine: Machine, count: number): Promise<Round> {
  await machine.warm();
  const began = performance.now();
  const sessions = await Promise.all(
    Array.from({ length: count }, async () => {
      const request = machine.request(['sleep', '600'], { detach: true });
      const { id } = await machine.client.call('createSession', { body: request });
      await machine.until(id, ({ state }) => state === 'running');
      return { id, start: performance.now() - began };
    }),
  );
  const all = performance.now() - began;
  // Those that wait for the next run are counted too: they are there in the idle figure as well.
  for (;;) if ((await machine.client.call('health', {})).warmSidecars > 0) break;
  const { pss, rss } = await memory(machine);
  await Promise.all(sessions.map(({ id }) => machine.client.call('stopSession', { params: { id } })));
  return { count, starts: sessions.map(({ start }) => start), all, pss, rss };
}

async function memory(machine: Machine): Promise<{ pss: number; rss: number }> {
  const { pid } = await machine.client.call('health', {});
  const all = processesOf(machine, pid);
  const sum = (key: 'pss' | 'rss'): number => all.reduce((total, one) => total + one[key], 0);
  return { pss: sum('pss'), rss: sum('rss') };
}
