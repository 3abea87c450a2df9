import { limits, type Limit } from '../pure/contracts/limits.ts';

const bytes: readonly (readonly [number, string])[] = [
  [1 << 30, 'GiB'],
  [1 << 20, 'MiB'],
  [1 << 10, 'KiB'],
];
const milliseconds: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
];

/** The value in the largest unit that divides it: 65536 bytes is 64 KiB. */
export function readable(limit: Limit): string {
  const units = limit.unit === 'bytes' ? bytes : limit.unit === 'ms' ? milliseconds : [];
  const unit = units.find(([size]) => limit.value >= size && limit.value % size === 0);
  if (unit !== undefined) return `${limit.value / unit[0]} ${unit[1]}`;
  return limit.unit === 'count'
    ? limit.value.toLocaleString('en')
    : `${limit.value.toLocaleString('en')} ${limit.unit}`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** docs/limits.md, made from the one table of limits, so that the two cannot differ [R45]. */
export function limitsDocument(table: Readonly<Record<string, Limit>> = limits): string {
  const rows = Object.entries(table).sort(([one], [other]) => (one < other ? -1 : 1));
  const line = ([name, limit]: readonly [string, Limit]): string =>
    `| \`${name}\` | ${cell(limit.bounds)} | ${readable(limit)} | ${limit.owner} | ${cell(limit.reached)} |`;
  return [
    '# Limits',
    '',
    'Every bound of Glovebox: sizes, counts, times and queues. Made from `pure/contracts/limits.ts` by',
    '`npm run docs`; a test compares the two.',
    '',
    '| limit | what it bounds | default | owner | when it is reached |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map(line),
    '',
  ].join('\n');
}
