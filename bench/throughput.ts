import { createHash, randomBytes } from 'node:crypto';
import type { Bare } from './bare.ts';
import { median, ms, pairedRatio, spread, table, times } from './figures.ts';
import { timed, type Machine, type Ran } from './machine.ts';
import { inTurns } from './start.ts';

const size = 100 << 20;

/** 100 MB in and out again, each byte compared. Its wall time holds the start, which `true` shows alone. */
export async function throughputPart(bare: Bare, machine: Machine, rounds: number): Promise<string> {
  const bytes = randomBytes(size);
  const sum = createHash('sha256').update(bytes).digest('hex');
  const same = ({ out, wall, err }: Ran): number => {
    if (createHash('sha256').update(Buffer.from(out, 'latin1')).digest('hex') !== sum)
      throw new Error(`other bytes: ${err}`);
    return wall;
  };
  const contenders = [
    {
      name: 'runsc run cat',
      measure: async () => same(await timed(() => bare.run(['cat'], ['pipe', 'pipe', 'inherit']), bytes)),
    },
    {
      name: 'glovebox run -- cat',
      measure: async () => {
        await machine.warm();
        return same(await machine.glovebox(['run', '--', 'cat'], bytes));
      },
    },
  ];
  const found = await inTurns(contenders, rounds);
  const base = found[0] ?? [];
  return table(
    ['', 'median', 'middle half', 'MB/s, start included', 'to runsc'],
    contenders.map(({ name }, index) => {
      const values = found[index] ?? [];
      const rate = (size / 1e6 / (median(values) / 1000)).toFixed(0);
      return [
        name,
        ms(median(values)),
        spread(values),
        rate,
        index === 0 ? '' : times(pairedRatio(values, base)),
      ];
    }),
  );
}
